// Command geodata rewrites the country database of ip-location-db into the typed form that
// footfall reads, so that countries work with no account anywhere:
//
//	geodata IN.mmdb OUT.mmdb
//
// IN holds a bare {"country_code": "DE"} for each network; OUT holds what databases of the type
// GeoLite2-Country do, since readers refuse types they do not know. Its description names
// the source, as the licence of the data asks. The same IN gives the same OUT,
// byte for byte, and OUT is replaced in one step or not at all.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// description says where the data is from; footfall shows it.
const description = "Countries of networks from the statistics of the Number Resource Organization " +
	"(nro.net, CC BY 4.0), gathered by ip-location-db (CC0), rewritten by footfall"

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: geodata IN.mmdb OUT.mmdb")
		os.Exit(2)
	}
	start := time.Now()
	n, err := rewrite(os.Args[1], os.Args[2], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "geodata:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "geodata: %d networks written to %s in %.1f s\n", n, os.Args[2], time.Since(start).Seconds())
}

// rewrite returns how many networks it wrote.
func rewrite(in, out string, progress io.Writer) (n int, err error) {
	db, err := maxminddb.Open(in)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", in, err)
	}
	defer db.Close()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch:   int64(db.Metadata.BuildEpoch),
		DatabaseType: "GeoLite2-Country",
		Description:  map[string]string{"en": description},
		Languages:    []string{"en"},
		IPVersion:    6,
		RecordSize:   24,
	})
	if err != nil {
		return 0, err
	}
	records := make(map[string]mmdbtype.Map)
	for result := range db.Networks() {
		var rec struct {
			Code string `maxminddb:"country_code"`
		}
		if err := result.Decode(&rec); err != nil {
			return n, fmt.Errorf("%s: %s: %w", in, result.Prefix(), err)
		}
		value, ok := records[rec.Code]
		if !ok {
			if value, err = record(rec.Code); err != nil {
				return n, fmt.Errorf("%s: %s: %w", in, result.Prefix(), err)
			}
			records[rec.Code] = value
		}
		err := tree.Insert(ipNet(result.Prefix()), value)
		if skipped(err) {
			continue
		} else if err != nil {
			return n, fmt.Errorf("%s: %w", result.Prefix(), err)
		}
		if n++; n%100_000 == 0 {
			fmt.Fprintf(progress, "geodata: %d networks\n", n)
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("%s: no networks in it", in)
	}
	return n, replace(out, tree)
}

// skipped reports whether a network is left out on purpose: 6to4 and the like, for which the
// tree answers with the IPv4 network within, and private and reserved ones, to which the data gives
// the country of whoever registered them.
func skipped(err error) bool {
	var aliased *mmdbwriter.AliasedNetworkError
	var reserved *mmdbwriter.ReservedNetworkError
	return errors.As(err, &aliased) || errors.As(err, &reserved)
}

// record returns the typed record of a country.
func record(code string) (mmdbtype.Map, error) {
	if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
		return nil, fmt.Errorf("country code %q is not two capital letters", code)
	}
	country := mmdbtype.Map{"iso_code": mmdbtype.String(code)}
	if region, err := language.ParseRegion(code); err == nil {
		if name := display.English.Regions().Name(region); name != "" {
			country["names"] = mmdbtype.Map{"en": mmdbtype.String(name)}
		}
	}
	return mmdbtype.Map{"country": country}, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// replace writes the tree to a file beside out and renames it, so that nobody reads half.
func replace(out string, tree io.WriterTo) (err error) {
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = tree.WriteTo(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = verify(f.Name()); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}

// verify reads all of a database. The input cannot be: it describes itself with nothing, which is
// an error to the verifier; a network of it that cannot be read is one to us.
func verify(path string) error {
	db, err := maxminddb.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(db.Verify(), db.Close())
}
