package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/kantarainitiative/footfall/collector/classify"
)

func listen(setting, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return ln, nil
}

// openGeo opens the configured file, or the one that make set up; nil if there is none.
func openGeo(c *Config) (*classify.Geo, error) {
	path := c.GeoIP
	if path == "" {
		if path = findPart("country.mmdb"); path == "" {
			return nil, nil
		}
	}
	g, err := classify.OpenGeo(path)
	if err != nil {
		return nil, fmt.Errorf("geoip: %w", err)
	}
	return g, nil
}

// findPart looks for a file that make set up: below .parts here, or beside the binary.
func findPart(name string) string {
	places := []string{".parts/" + name}
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		places = append(places, dir+"/"+name, dir+"/.parts/"+name, filepath.Dir(dir)+"/.parts/"+name)
	}
	for _, p := range places {
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
			return p
		}
	}
	return ""
}
