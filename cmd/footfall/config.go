package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // sites name time zones; the machine may have no zone files

	"go.yaml.in/yaml/v3"

	"github.com/kantarainitiative/footfall/anonymize"
	"github.com/kantarainitiative/footfall/collector"
	"github.com/kantarainitiative/footfall/collector/privacy"
	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/statsapi"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
)

// Config is everything that can be configured. Each default is written once, in
// [defaultConfig]; each rule once, in [Config.Validate] or in the type of the field.
type Config struct {
	Listen         string       `yaml:"listen"` // public listener
	Staff          string       `yaml:"staff"`  // dashboard, Stats API, metrics
	Data           string       `yaml:"data"`   // spool, keys, embedded engine, tokens and users
	Store          storeURL     `yaml:"store"`  // "embedded" or clickhouse://…
	URL            string       `yaml:"url"`    // public address, for links in mail
	Organisation   Organisation `yaml:"organisation"`
	TrustedProxies []prefix     `yaml:"trusted_proxies"`
	GeoIP          string       `yaml:"geoip"`
	Policy         string       `yaml:"policy"`
	Templates      string       `yaml:"templates"` // directory of the organisation's own words for the notice
	Spool          SpoolConfig  `yaml:"spool"`
	RateLimit      int          `yaml:"rate_limit"` // hits a minute that count of one network; 0: any number
	Sites          []SiteConfig `yaml:"sites"`

	OIDC       OIDCConfig       `yaml:"oidc"`
	ProxyLogin ProxyLoginConfig `yaml:"proxy_login"`

	file string // where it was read from, "" for none
}

// Organisation is who the notice speaks for.
type Organisation struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
	Email   string `yaml:"email"`
	Phone   string `yaml:"phone"`
	// Jurisdiction is whose law applies, as "DE": receipts name it.
	Jurisdiction string `yaml:"jurisdiction"`
}

// SpoolConfig says how durable an acknowledged hit is, and how much may wait.
type SpoolConfig struct {
	Sync     syncMode `yaml:"sync"`
	MaxBytes byteSize `yaml:"max_bytes"`
	Keep     keepTime `yaml:"keep"` // how long segments are kept once they are stored
}

// SiteConfig is one site.
type SiteConfig struct {
	Domain        string        `yaml:"domain"`
	Timezone      zone          `yaml:"timezone"`
	Hostnames     []string      `yaml:"hostnames"`
	QueryParams   []string      `yaml:"query_params"` // kept in the page; every other parameter is dropped
	IP            ipMode        `yaml:"ip"`
	Prefix        prefixLengths `yaml:"prefix"`
	DNT           dntMode       `yaml:"dnt"`
	VisitorWindow visitorWindow `yaml:"visitor_window"`
	Geo           bool          `yaml:"geo"` // look up the country
	Retention     retention     `yaml:"retention"`
	MinVisitors   int           `yaml:"min_visitors"`
	Grain         grain         `yaml:"grain"` // the finest step of reports: hour, or day for all but page views
	PII           piiMode       `yaml:"pii"`
	Cookie        cookieMode    `yaml:"cookie"`
	Means         meansList     `yaml:"means"` // how hits may come; none: script, pixel and email
}

func defaultConfig() *Config {
	return &Config{
		Listen: ":8080",
		Staff:  "127.0.0.1:8081",
		Data:   "./data",
		Store:  "embedded",
		Spool:  SpoolConfig{Sync: syncMode(200 * time.Millisecond), MaxBytes: 4 << 30},

		ProxyLogin: ProxyLoginConfig{Role: string(auth.Viewer)},
	}
}

func defaultSite() SiteConfig {
	return SiteConfig{
		Timezone: zone{time.UTC}, Prefix: prefixLengths{anonymize.Bits4, anonymize.Bits6}, DNT: dntMode(collector.DNTUnlinked), Geo: true,
		Retention: keptFor(defaultPeriod), Cookie: "none", Grain: "hour",
	}
}

// UnmarshalYAML starts each site from the defaults. A site's own strictness has to be
// restated here, since a decoder's does not reach custom unmarshalers.
func (s *SiteConfig) UnmarshalYAML(n *yaml.Node) error {
	type plain SiteConfig // without this method
	p := plain(defaultSite())
	if err := knownKeys(n, p); err != nil {
		return err
	}
	if err := n.Decode(&p); err != nil {
		return err
	}
	if p.Domain == "" {
		return fmt.Errorf("line %d: sites: a site needs a domain", n.Line)
	}
	*s = SiteConfig(p)
	return nil
}

// loadConfig reads file (none if empty) over the defaults, then the environment.
// Flags come last and are the caller's.
func loadConfig(file string, getenv func(string) string) (*Config, error) {
	c := defaultConfig()
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("cannot read the configuration: %w", err)
		}
		if err := c.parse(file, b); err != nil {
			return nil, err
		}
	}
	for name, p := range map[string]*string{
		"FOOTFALL_LISTEN": &c.Listen, "FOOTFALL_STAFF": &c.Staff, "FOOTFALL_DATA": &c.Data,
		"FOOTFALL_STORE": (*string)(&c.Store), "FOOTFALL_URL": &c.URL, "FOOTFALL_GEOIP": &c.GeoIP,
		"FOOTFALL_POLICY": &c.Policy,
	} {
		if v := getenv(name); v != "" {
			*p = v
		}
	}
	if v := getenv("FOOTFALL_OIDC_SECRET"); v != "" {
		c.OIDC.ClientSecret = secret(v)
	}
	if v := getenv("FOOTFALL_TRUSTED_PROXIES"); v != "" {
		c.TrustedProxies = nil
		for s := range strings.SplitSeq(v, ",") {
			p, err := parsePrefix(strings.TrimSpace(s))
			if err != nil {
				return nil, fmt.Errorf("FOOTFALL_TRUSTED_PROXIES: %w", err)
			}
			c.TrustedProxies = append(c.TrustedProxies, p)
		}
	}
	if len(c.Sites) == 0 {
		s := defaultSite()
		s.Domain = "localhost"
		c.Sites = []SiteConfig{s}
	}
	return c, nil
}

// parse puts the YAML of file over c.
func (c *Config) parse(file string, b []byte) error {
	c.file = file
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return yamlError(file, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one YAML document", file)
	}
	return nil
}

var unknownField = regexp.MustCompile(`line (\d+): field (\S+) not found in type \S+`)

// yamlError puts a decoder's error into words: every mistake with its line and key.
func yamlError(file string, err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	msg = strings.TrimPrefix(msg, "unmarshal errors:\n")
	msg = unknownField.ReplaceAllString(msg, `line $1: unknown key "$2"`)
	var lines []string
	for l := range strings.SplitSeq(msg, "\n") {
		lines = append(lines, file+": "+strings.TrimSpace(l))
	}
	return errors.New(strings.Join(lines, "\n"))
}

// knownKeys refuses keys of the mapping n that the struct v has no field for.
func knownKeys(n *yaml.Node, v any) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: expected a mapping", n.Line)
	}
	known := yamlKeys(v)
	for i := 0; i < len(n.Content); i += 2 {
		if k := n.Content[i]; !slices.Contains(known, k.Value) {
			return fmt.Errorf("line %d: unknown key %q", k.Line, k.Value)
		}
	}
	return nil
}

// yamlKeys lists the keys of a struct.
func yamlKeys(v any) (keys []string) {
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// Validate checks what no single field can know. Its errors name the setting.
func (c *Config) Validate() error {
	for name, addr := range map[string]string{"listen": c.Listen, "staff": c.Staff} {
		_, port, err := net.SplitHostPort(addr)
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil {
			return fmt.Errorf("%s: %q is no address: write HOST:PORT, or :PORT for every interface", name, addr)
		}
	}
	if c.Listen == c.Staff && !strings.HasSuffix(c.Listen, ":0") {
		return fmt.Errorf("staff: must be another address than listen (%s): visitors must not reach the dashboard", c.Listen)
	}
	if c.Data == "" {
		return errors.New("data: name a directory")
	}
	if err := c.Store.validate(); err != nil {
		return err
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("url: %q is no public address: write https://HOST", c.URL)
		}
	}
	if c.Spool.MaxBytes < 1<<20 {
		return fmt.Errorf("spool.max_bytes: at least 1MiB, not %d bytes", c.Spool.MaxBytes)
	}
	if c.RateLimit < 0 || c.RateLimit > maxRateLimit {
		return fmt.Errorf("rate_limit: %d is no number of hits a minute: write 0 for no limit, and %d at most", c.RateLimit, maxRateLimit)
	}
	seen := map[string]bool{}
	for i := range c.Sites {
		s := &c.Sites[i]
		d := strings.ToLower(strings.TrimSuffix(s.Domain, "."))
		if !validDomain(d) {
			return fmt.Errorf("sites[%d].domain: %q is no domain name: no scheme, port or path", i, s.Domain)
		}
		if seen[d] {
			return fmt.Errorf("sites[%d].domain: %q is configured twice", i, d)
		}
		seen[d] = true
		s.Domain = d
		for j, h := range s.Hostnames {
			if s.Hostnames[j] = strings.ToLower(h); !validDomain(s.Hostnames[j]) {
				return fmt.Errorf("sites[%d].hostnames: %q is no host name", i, h)
			}
		}
		if err := s.Prefix.validate(); err != nil {
			return fmt.Errorf("sites[%d].prefix.%w", i, err)
		}
		if err := s.Retention.validate(); err != nil {
			return fmt.Errorf("sites[%d].retention.%w", i, err)
		}
		if s.MinVisitors < 0 || s.MinVisitors > maxMinVisitors {
			return fmt.Errorf("sites[%d].min_visitors: %d lies not between 0 and %d", i, s.MinVisitors, maxMinVisitors)
		}
	}
	return c.validateLogin()
}

// maxMinVisitors is more than any rule on small numbers asks for.
const maxMinVisitors = 1000

// maxRateLimit is more than any one network sends: above it a limit is a slip of the pen.
const maxRateLimit = 1_000_000

// warnings lists settings that are accepted and valid, but that this version does not act on yet,
// or that are likely not to mean what they say.
func (c *Config) warnings() (w []string) {
	public, _ := url.Parse(c.URL) // checked by Validate
	for i := range c.Sites {
		s, at := &c.Sites[i], fmt.Sprintf("sites[%d] (%s): ", i, c.Sites[i].Domain)
		if s.cookie() && c.URL != "" && !privacy.SameSite(public.Hostname(), s.Domain) {
			w = append(w, at+"cookie has no effect: to a browser "+public.Hostname()+" is another site than "+s.Domain+", so nothing set there comes with its hits")
		}
	}
	if c.file != "" && c.Organisation.Name == "" {
		w = append(w, "organisation has no name: notice and receipts do not say who is responsible")
	}
	if c.RateLimit > 0 && len(c.TrustedProxies) == 0 {
		w = append(w, "rate_limit without trusted_proxies: behind a reverse proxy all visitors together have one network's limit")
	}
	return w
}

// publicURL is the address visitors reach the public listener under.
func (c *Config) publicURL() string {
	if c.URL != "" {
		return strings.TrimSuffix(c.URL, "/")
	}
	return localURL(c.Listen)
}

// localURL is an address under which this machine reaches a listener.
func localURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// collector returns the settings of the public listener. notice has the version of each site's notice.
func (c *Config) collector(notice map[string]uint32, geo collector.Places) collector.Settings {
	return collector.Settings{
		Sites: c.sites(notice), TrustedProxies: c.trustedProxies(), Geo: geo, RateLimit: c.RateLimit,
		HTTPS: strings.HasPrefix(c.URL, "https://"), Updated: c.changed(),
	}
}

// sites returns the sites as the collector wants them, each with the version of its notice.
func (c *Config) sites(notice map[string]uint32) []collector.Site {
	out := make([]collector.Site, len(c.Sites))
	for i, s := range c.Sites {
		out[i] = collector.Site{
			Domain: s.Domain, Location: s.Timezone.Location, Hostnames: s.Hostnames, QueryParams: s.QueryParams,
			IP: anonymize.Mode(s.IP), Bits4: s.Prefix.IPv4, Bits6: s.Prefix.IPv6, DNT: collector.DNT(s.DNT), Window: anonymize.Window(s.VisitorWindow), GeoOff: !s.Geo,
			PII: collector.PII(s.PII), Cookie: s.cookie(), Notice: notice[s.Domain],
			NoScript: !s.Means.has(policy.Script), NoPixel: !s.Means.has(policy.Pixel), NoEmail: !s.Means.has(policy.Email),
		}
	}
	return out
}

// site finds a configured site, nil if there is none of that name.
func (c *Config) site(domain string) *SiteConfig {
	if i := slices.IndexFunc(c.Sites, func(s SiteConfig) bool { return s.Domain == domain }); i >= 0 {
		return &c.Sites[i]
	}
	return nil
}

// apiSite finds a site for the Stats API.
func (c *Config) apiSite(domain string) (statsapi.Site, bool) {
	s := c.site(domain)
	if s == nil {
		return statsapi.Site{}, false
	}
	return statsapi.Site{Zone: s.Timezone.Location, LongIDs: s.longIDs()}, true
}

// reports answers reports of st under each site's min_visitors.
func (c *Config) reports(st *store.Store) store.Reports {
	return store.Reports{Store: st, Min: c.minVisitors, Daily: c.daily}
}

// daily tells whether a site's reports are no finer than a day.
func (c *Config) daily(site string) bool {
	s := c.site(site)
	return s != nil && s.Grain == "day"
}

func (c *Config) minVisitors(site string) int {
	if s := c.site(site); s != nil {
		return s.MinVisitors
	}
	return 0
}

// longIDs tells whether a visitor can keep an id for more than a day.
func (s *SiteConfig) longIDs() bool {
	return anonymize.Window(s.VisitorWindow) != anonymize.Day || s.cookie()
}

// cookie tells whether visitors may agree to a cookie.
func (s *SiteConfig) cookie() bool { return s.Cookie == "consented" }

// changed is when the configuration file was last changed, zero without one.
func (c *Config) changed() time.Time {
	if fi, err := os.Stat(c.file); err == nil {
		return fi.ModTime()
	}
	return time.Time{}
}

func (c *Config) trustedProxies() []netip.Prefix {
	out := make([]netip.Prefix, len(c.TrustedProxies))
	for i, p := range c.TrustedProxies {
		out[i] = p.Prefix
	}
	return out
}

func (c *Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.Data}, elem...)...)
}

var domainPattern = regexp.MustCompile(`^[\p{L}\p{N}]([\p{L}\p{N}_-]*[\p{L}\p{N}])?(\.[\p{L}\p{N}]([\p{L}\p{N}_-]*[\p{L}\p{N}])?)*$`)

func validDomain(s string) bool { return len(s) <= 253 && domainPattern.MatchString(s) }
