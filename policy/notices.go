package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// NoticesFile is the name of the file of all versions, in the data directory.
const NoticesFile = "notices.json"

// Notice is one version of a site's notice.
type Notice struct {
	Version     uint32    `json:"version"` // from 1
	Since       time.Time `json:"since"`   // when it came into force, UTC
	Fingerprint string    `json:"fingerprint"`
	Facts       Facts     `json:"facts"`
}

// Notices is the history of the notices of all sites. A version that was once in force is never
// changed or removed, nor is its number given again: events carry it. It may be used by many
// goroutines. Only the owner of the data directory may call Update.
type Notices struct {
	path string
	now  func() time.Time

	mu      sync.RWMutex
	history map[string][]Notice // by site, oldest version first
	running map[string]Facts    // of the configuration in force
}

// noticesFile is the file's form.
type noticesFile struct {
	Format int                 `json:"format"`
	Sites  map[string][]Notice `json:"sites"`
}

const noticesFormat = 1

// OpenNotices reads the history in dir. It writes nothing; where there is no file there is no version
// yet.
func OpenNotices(dir string, now func() time.Time) (*Notices, error) {
	n := &Notices{path: filepath.Join(dir, NoticesFile), now: now, history: map[string][]Notice{}, running: map[string]Facts{}}
	b, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	damaged := func(what string) error {
		return fmt.Errorf("policy: %s is damaged (%s): restore it from a backup, since events are labelled with its versions", n.path, what)
	}
	var f noticesFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, damaged("it cannot be read")
	}
	if f.Format != noticesFormat {
		return nil, damaged(fmt.Sprintf("its format is %d, this program knows %d", f.Format, noticesFormat))
	}
	for site, versions := range f.Sites {
		for i, v := range versions {
			if int(v.Version) != i+1 || v.Facts.Site != site {
				return nil, damaged("its versions are not in order")
			}
		}
		if len(versions) > 0 {
			n.history[site] = versions
		}
	}
	return n, nil
}

// Update puts the facts of every site in force. A site whose facts mean something else than its
// newest version gets the next one. The history is on disk before apply is called with each site's
// version, so that no event carries one that is not recorded; if apply fails, the history and the
// facts stay as they were. apply may be nil.
func (n *Notices) Update(facts []Facts, apply func(version map[string]uint32) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := maps.Clone(n.history)
	running, version := map[string]Facts{}, map[string]uint32{}
	changed := false
	for _, f := range facts {
		if v, fresh := n.preview(f); fresh {
			next[f.Site] = append(slices.Clip(next[f.Site]), v)
			changed = true
		}
		running[f.Site], version[f.Site] = f, uint32(len(next[f.Site]))
	}
	if changed {
		if err := n.write(next); err != nil {
			return err
		}
	}
	if apply != nil {
		if err := apply(version); err != nil {
			if changed {
				err = errors.Join(err, n.write(n.history))
			}
			return err
		}
	}
	n.history, n.running = next, running
	return nil
}

func (n *Notices) write(history map[string][]Notice) error {
	b, err := json.MarshalIndent(noticesFile{noticesFormat, history}, "", "  ")
	if err == nil {
		err = replaceFile(n.path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("policy: the versions of the notice cannot be kept: %w", err)
	}
	return nil
}

// Current returns the version of a site's notice that is in force, with the facts as they are now:
// those that carry no meaning may be newer than the version. ok is false for a site that has none.
func (n *Notices) Current(site string) (v Notice, ok bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	h := n.history[site]
	if len(h) == 0 {
		return Notice{}, false
	}
	v = h[len(h)-1]
	if f, ok := n.running[site]; ok {
		v.Facts = f
	}
	return v, true
}

// Preview returns the notice that facts would have if they were put in force now, and whether that
// would be a new version. It changes nothing.
func (n *Notices) Preview(f Facts) (v Notice, fresh bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.preview(f)
}

func (n *Notices) preview(f Facts) (v Notice, fresh bool) {
	h, mark := n.history[f.Site], Fingerprint(f)
	if len(h) > 0 && h[len(h)-1].Fingerprint == mark {
		v = h[len(h)-1]
		v.Facts = f
		return v, false
	}
	return Notice{uint32(len(h)) + 1, n.now().UTC().Truncate(time.Second), mark, f}, true
}

// History returns every version of a site's notice, the oldest first. The caller must not change it.
func (n *Notices) History(site string) []Notice {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.history[site]
}

// Sites returns the sites in force, in order of their names.
func (n *Notices) Sites() []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Sorted(maps.Keys(n.running))
}
