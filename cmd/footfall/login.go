package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/kantarainitiative/footfall/dashboard/auth"
)

// OIDCConfig is login of staff by the organisation's OpenID provider.
type OIDCConfig struct {
	Issuer       string              `yaml:"issuer"` // "": there is none
	ClientID     string              `yaml:"client_id"`
	ClientSecret secret              `yaml:"client_secret"` // better in FOOTFALL_OIDC_SECRET
	Label        string              `yaml:"label"`         // on the button
	NameClaim    string              `yaml:"name_claim"`
	GroupsClaim  string              `yaml:"groups_claim"`
	Scopes       []string            `yaml:"scopes"`
	Roles        map[string][]string `yaml:"roles"` // groups of each role
	Sites        map[string][]string `yaml:"sites"` // sites of a group
}

// ProxyLoginConfig is login of staff by a reverse proxy that says in a header who they are.
type ProxyLoginConfig struct {
	Header string   `yaml:"header"` // "": there is none
	From   []prefix `yaml:"from"`
	Role   string   `yaml:"role"`
	Sites  []string `yaml:"sites"`
}

// secret is a text that no way of printing shows.
type secret string

// String tells only whether there is one.
func (s secret) String() string {
	if s == "" {
		return ""
	}
	return "xxxxx"
}

// GoString is String, for %#v.
func (s secret) GoString() string { return s.String() }

// MarshalYAML is String, for a printed configuration.
func (s secret) MarshalYAML() (any, error) { return s.String(), nil }

// UnmarshalYAML reads a text. Errors do not quote it.
func (s *secret) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: client_secret: write a text", n.Line)
	}
	*s = secret(n.Value)
	return nil
}

// validateLogin checks how staff may log in, apart from passwords.
func (c *Config) validateLogin() error {
	if o := &c.OIDC; o.Issuer != "" {
		u, err := url.Parse(o.Issuer)
		local := err == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1")
		if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && local) {
			return fmt.Errorf("oidc.issuer: %q is no address of a provider: write https://HOST", o.Issuer)
		}
		if o.ClientID == "" {
			return errors.New("oidc.client_id: is missing")
		}
		if len(o.Roles) == 0 {
			return errors.New("oidc.roles: say which groups may do what, such as {viewer: [staff], admin: [ops]}; \"*\" is everybody whom the provider knows")
		}
		for _, role := range slices.Sorted(maps.Keys(o.Roles)) {
			if _, err := auth.ParseRole(role); err != nil {
				return fmt.Errorf("oidc.roles: %w", err)
			}
		}
		for _, group := range slices.Sorted(maps.Keys(o.Sites)) {
			if err := c.configured(o.Sites[group]); err != nil {
				return fmt.Errorf("oidc.sites: %w", err)
			}
		}
	} else if o.ClientID != "" || len(o.Roles) > 0 {
		return errors.New("oidc.issuer: is missing")
	}
	if p := &c.ProxyLogin; p.Header != "" {
		if len(p.From) == 0 {
			return errors.New("proxy_login.from: name the proxies that are believed, such as [127.0.0.1]")
		}
		if _, err := auth.ParseRole(p.Role); err != nil {
			return fmt.Errorf("proxy_login.role: %w", err)
		}
		if err := c.configured(p.Sites); err != nil {
			return fmt.Errorf("proxy_login.sites: %w", err)
		}
	} else if len(p.From) > 0 || len(p.Sites) > 0 {
		return errors.New("proxy_login.header: is missing")
	}
	return nil
}

func (c *Config) configured(sites []string) error {
	for _, s := range sites {
		if c.site(s) == nil {
			return fmt.Errorf("%q is not configured", s)
		}
	}
	return nil
}

// oidc is the OpenID provider, nil where none is configured.
func (c *Config) oidc() *auth.OIDC {
	o := c.OIDC
	if o.Issuer == "" {
		return nil
	}
	roles := map[auth.Role][]string{}
	for role, groups := range o.Roles {
		roles[auth.Role(role)] = groups
	}
	return auth.NewOIDC(auth.OIDCConfig{
		Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: string(o.ClientSecret), Label: o.Label,
		NameClaim: o.NameClaim, GroupsClaim: o.GroupsClaim, Scopes: o.Scopes, Roles: roles, Sites: o.Sites,
	})
}

// proxyLogin is the proxy that is believed now, nil where there is none.
func (a *app) proxyLogin() *auth.ProxyLogin {
	p := a.config().ProxyLogin
	if p.Header == "" {
		return nil
	}
	from := make([]netip.Prefix, len(p.From))
	for i, n := range p.From {
		from[i] = n.Prefix
	}
	return &auth.ProxyLogin{Header: p.Header, From: from, Role: auth.Role(p.Role), Sites: p.Sites}
}
