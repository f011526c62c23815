package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// certificate is what a disposal did and left, as its file has it. It holds numbers and names of sites, and nothing
// of the people who are counted.
type certificate struct {
	Time         time.Time `json:"time"`
	Took         string    `json:"took,omitempty"`
	By           string    `json:"by,omitempty"`
	OK           bool      `json:"ok"` // nothing is left that is older than is kept
	FailingSince time.Time `json:"failing_since,omitzero"`
	Errors       []string  `json:"errors"` // what failed, or is left

	Policy     []certPolicy `json:"policy"`
	Others     []certPolicy `json:"not_configured,omitempty"` // sites that something is held of all the same
	Removed    []certRows   `json:"removed"`
	Left       []certLeft   `json:"left"`
	Disk       []certDisk   `json:"disk"`
	BytesFreed uint64       `json:"bytes_freed"` // by how much tables have shrunk; the server unlinks the files some minutes later
	Spool      certSpool    `json:"spool"`
	Keys       []certKey    `json:"keys"`
	Recipients string       `json:"recipients"`
}

// certPolicy is how long a site's records are kept, and the first day of each kind that is kept by it.
type certPolicy struct {
	Site        string `json:"site"`
	Timezone    string `json:"timezone"`
	Events      string `json:"events"`
	EventsFrom  string `json:"events_from"`
	Rollups     string `json:"rollups"`
	RollupsFrom string `json:"rollups_from"`
	Ledger      string `json:"ledger"`
	LedgerFrom  string `json:"ledger_from"`
	Recipients  string `json:"recipients"`
}

func policyOf(c *Config, site string, at time.Time) certPolicy {
	r, zone, _ := c.retentionOf(site)
	cut := r.cut(at, zone)
	return certPolicy{site, zone.String(), string(r.Events), cut.Events.String(), string(r.Rollups), cut.Rollups.String(),
		string(r.Ledger), cut.Ledger.String(), string(r.Recipients)}
}

func appendPolicy(all []certPolicy, p certPolicy) []certPolicy {
	if slices.Contains(all, p) {
		return all
	}
	return append(all, p)
}

type certRows struct {
	Site string `json:"site"`
	Kind string `json:"kind"`
	Rows uint64 `json:"rows"`
}

type certLeft struct {
	Site     string `json:"site"`
	Kind     string `json:"kind"`
	Oldest   string `json:"oldest"` // day, on the site's calendar
	Rows     uint64 `json:"rows"`
	Due      uint64 `json:"due"`       // rows that are older than is kept
	DueBytes uint64 `json:"due_bytes"` // about what they take on disk
}

type certDisk struct {
	Kind   string `json:"kind"`
	Before uint64 `json:"bytes_before"`
	After  uint64 `json:"bytes_after"`
	Leaves uint64 `json:"bytes_leaving"` // of dropped and replaced parts that the server has not unlinked yet
}

type certSpool struct {
	Oldest  string `json:"oldest"` // when the oldest hit came that waits to be stored, "" for none
	Bytes   int64  `json:"bytes"`
	KeptFor string `json:"kept_for"` // how long stored segments are kept
}

type certKey struct {
	Window string `json:"window"`
	Oldest string `json:"oldest"` // first day of the oldest period of which ids can be made
}

const certificatesDir = "certificates" // in the data directory

// write keeps a certificate for good, and returns its file's name and SHA-256.
func (c *certificate) write(data string) (name, hash string, err error) {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return "", "", err
	}
	text = append(text, '\n')
	dir := filepath.Join(data, certificatesDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	name = c.Time.Format("20060102T150405.000Z") + ".json"
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", "", err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return "", "", err
	}
	sum := sha256.Sum256(text)
	return name, hex.EncodeToString(sum[:]), orderBook{dir}.sync()
}

// readCertificates returns the newest one, and the newest of a run that did not fail, nil for none. One that cannot be read is
// passed over: the next run writes another.
func readCertificates(data string) (last, good *certificate, err error) {
	entries, err := os.ReadDir(filepath.Join(data, certificatesDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range slices.Backward(entries) {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(data, certificatesDir, e.Name()))
		var c certificate
		if err != nil || json.Unmarshal(text, &c) != nil {
			continue
		}
		if last == nil {
			last = &c
		}
		if c.OK {
			return last, &c, nil
		}
	}
	return last, nil, nil
}

// print writes what is held, and what of it is too old or was removed.
func (c *certificate) print(out io.Writer, ran bool) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	removed := map[[2]string]uint64{}
	for _, r := range c.Removed {
		removed[[2]string{r.Site, r.Kind}] = r.Rows
	}
	last := "too old\tabout bytes"
	if ran {
		last = "removed\tstill too old"
	}
	fmt.Fprintf(w, "site\tkind\tkept for\tkept from\toldest\trows\t%s\n", last)
	left := slices.Clone(c.Left)
	for _, r := range c.Removed {
		if !slices.ContainsFunc(left, func(l certLeft) bool { return l.Site == r.Site && l.Kind == r.Kind }) {
			left = append(left, certLeft{Site: r.Site, Kind: r.Kind, Oldest: "none"})
		}
	}
	policies := append(slices.Clone(c.Policy), c.Others...)
	for _, l := range left {
		var kept, from string
		if i := slices.IndexFunc(policies, func(p certPolicy) bool { return p.Site == l.Site }); i >= 0 {
			p := policies[i]
			kept, from = p.Events, p.EventsFrom
			switch l.Kind {
			case "rollups":
				kept, from = p.Rollups, p.RollupsFrom
			case "ledger":
				kept, from = p.Ledger, p.LedgerFrom
			}
		}
		a, z := l.Due, l.DueBytes
		if ran {
			a, z = removed[[2]string{l.Site, l.Kind}], l.Due
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", l.Site, l.Kind, kept, from, l.Oldest, l.Rows, a, z)
	}
	w.Flush()
	if ran {
		fmt.Fprintf(&b, "%d bytes of the tables are freed.\n", c.BytesFreed)
	}
	for _, k := range c.Keys {
		fmt.Fprintf(&b, "Keys of ids for one %s: the oldest is that of %s.\n", k.Window, k.Oldest)
	}
	if c.Spool.Oldest != "" {
		fmt.Fprintf(&b, "The oldest hit that waits to be stored came at %s.\n", c.Spool.Oldest)
	}
	_, err := out.Write(b.Bytes())
	return err
}
