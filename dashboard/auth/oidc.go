package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDC is login by an OpenID provider of the organisation: OpenID Connect Core 1.0 with the
// authorization code flow and PKCE (RFC 7636). The provider vouches for a name and for groups; groups give
// roles and sites. Make one with [NewOIDC].
type OIDC struct {
	OIDCConfig
	client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil until it has been reached once
}

// OIDCConfig says how to reach the provider and what its groups may do.
type OIDCConfig struct {
	Issuer       string
	ClientID     string
	ClientSecret string // "" for a public client
	Label        string // of the button
	NameClaim    string // "": preferred_username, else email, else sub
	GroupsClaim  string // "": groups
	Scopes       []string

	Roles map[Role][]string   // groups of each role; "*" is everybody whom the provider knows
	Sites map[string][]string // sites of a group; empty: every site for everybody. Admins see every site
}

const (
	oidcCookie  = "footfall_oidc"
	oidcLife    = 10 * time.Minute // from the button to the way back
	oidcSession = 12 * time.Hour   // groups are as old as the session
	oidcTimeout = 10 * time.Second
)

// NewOIDC returns a provider that is asked at the first login: a start needs no network.
func NewOIDC(c OIDCConfig) *OIDC {
	if c.GroupsClaim == "" {
		c.GroupsClaim = "groups"
	}
	if c.Label == "" {
		c.Label = "single sign-on"
	}
	return &OIDC{OIDCConfig: c, client: &http.Client{Timeout: oidcTimeout}}
}

// attempt is one login under way, kept in a signed cookie of the browser that began it.
type attempt struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // of PKCE; useless without the code, which only the provider gives
	Next     string `json:"x"`
	Expires  int64  `json:"e"`
}

// reach returns the provider, which is asked for its addresses once.
func (o *OIDC) reach(ctx context.Context) (*oidc.Provider, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		p, err := oidc.NewProvider(ctx, o.Issuer)
		if err != nil {
			return nil, fmt.Errorf("the OpenID provider: %w", err)
		}
		o.provider = p
	}
	return o.provider, nil
}

func (o *OIDC) oauth(p *oidc.Provider, r *http.Request) *oauth2.Config {
	scheme := "http"
	if overTLS(r) {
		scheme = "https"
	}
	// A wrong Host only gives an address that the provider does not know.
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Endpoint: p.Endpoint(),
		RedirectURL: scheme + "://" + r.Host + "/login/oidc/back",
		Scopes:      append([]string{oidc.ScopeOpenID, "profile", "email"}, o.Scopes...),
	}
}

// LoginOIDC is the handler of GET /login/oidc, which sends to the provider, and of GET
// /login/oidc/back, to which the provider sends back.
func (g *Guard) LoginOIDC(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	var o *OIDC
	if g.OIDC != nil {
		o = g.OIDC()
	}
	if o == nil {
		http.NotFound(w, r)
		return
	}
	v := LoginView{Next: localPath(r.URL.Query().Get("next"))}
	if !g.mayTry(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), o.client), oidcTimeout)
	defer cancel()
	p, err := o.reach(ctx)
	if err != nil {
		g.refuseOIDC(w, r, v, err)
		return
	}
	if r.URL.Path == "/login/oidc/back" {
		g.backFromOIDC(ctx, w, r, o, p)
		return
	}
	s, err := g.Files.current()
	if err != nil {
		g.fail(w, r, v, err)
		return
	}
	random := func() string { return base64.RawURLEncoding.EncodeToString(randomBytes(24)) }
	a := attempt{random(), random(), oauth2.GenerateVerifier(), v.Next, g.Now().Add(oidcLife).Unix()}
	g.setOIDCCookie(w, r, s.seal("oidc", "", a), oidcLife)
	http.Redirect(w, r, o.oauth(p, r).AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), http.StatusSeeOther)
}

func (g *Guard) setOIDCCookie(w http.ResponseWriter, r *http.Request, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: oidcCookie, Value: value, Path: "/login/oidc", MaxAge: int(age.Seconds()),
		HttpOnly: true, Secure: overTLS(r), SameSite: http.SameSiteLaxMode,
	})
}

// backFromOIDC takes what the provider says.
func (g *Guard) backFromOIDC(ctx context.Context, w http.ResponseWriter, r *http.Request, o *OIDC, p *oidc.Provider) {
	s, err := g.Files.current()
	if err != nil {
		g.fail(w, r, LoginView{Next: "/"}, err)
		return
	}
	var a attempt
	c, err := r.Cookie(oidcCookie)
	q := r.URL.Query()
	if err != nil || !peek(c.Value, &a) || !s.genuine("oidc", "", c.Value) || g.Now().Unix() >= a.Expires || q.Get("state") != a.State {
		g.refuseOIDC(w, r, LoginView{Next: "/"}, errors.New("the login was not begun in this browser, or took too long"))
		return
	}
	g.setOIDCCookie(w, r, "", -time.Second) // good once
	v := LoginView{Next: localPath(a.Next)}
	if q.Get("error") != "" {
		g.refuseOIDC(w, r, v, errors.New("the OpenID provider refused"))
		return
	}
	token, err := o.oauth(p, r).Exchange(ctx, q.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		// The library's error quotes the provider's answer.
		g.refuseOIDC(w, r, v, errors.New("the OpenID provider did not take its own code back"))
		return
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := p.Verifier(&oidc.Config{ClientID: o.ClientID, Now: g.Now}).Verify(ctx, raw)
	if err != nil || idToken.Nonce != a.Nonce {
		g.refuseOIDC(w, r, v, errors.New("the OpenID provider's answer is not genuine"))
		return
	}
	claims := map[string]any{}
	if err := idToken.Claims(&claims); err != nil {
		g.refuseOIDC(w, r, v, errors.New("the OpenID provider's answer cannot be read"))
		return
	}
	// Most providers tell of groups there only (OpenID Connect Core 1.0, section 5.4).
	if p.UserInfoEndpoint() != "" {
		info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(token))
		more := map[string]any{}
		if err != nil || info.Subject != idToken.Subject || info.Claims(&more) != nil {
			g.refuseOIDC(w, r, v, errors.New("the OpenID provider does not say who you are"))
			return
		}
		for k, c := range more {
			if _, ok := claims[k]; !ok { // what is signed counts first
				claims[k] = c
			}
		}
	}
	id, ok := o.identity(claims)
	if !ok {
		g.refuseOIDC(w, r, v, errors.New("none of your groups may see this"))
		return
	}
	g.start(w, r, session{By: byOIDC, Name: id.Name, Role: id.Role, Sites: id.Sites}, oidcSession, v)
}

// identity is who the claims tell of; not ok if they may do nothing.
func (o *OIDC) identity(claims map[string]any) (id Identity, ok bool) {
	names := []string{o.NameClaim}
	if o.NameClaim == "" {
		names = []string{"preferred_username", "email", "sub"}
	}
	for _, n := range names {
		if s, _ := claims[n].(string); checkName(s) == nil {
			id.Name = s
			break
		}
	}
	if id.Name == "" {
		return id, false
	}
	groups := []string{"*"}
	switch v := claims[o.GroupsClaim].(type) {
	case string:
		groups = append(groups, v)
	case []any:
		for _, g := range v {
			if s, ok := g.(string); ok && s != "*" {
				groups = append(groups, s)
			}
		}
	}
	in := func(g string) bool { return slices.Contains(groups, g) }
	for _, role := range Roles { // the last that fits has the most rights
		if slices.ContainsFunc(o.Roles[role], in) {
			id.Role = role
		}
	}
	for group, sites := range o.Sites {
		if in(group) {
			id.Sites = append(id.Sites, sites...)
		}
	}
	slices.Sort(id.Sites)
	id.Sites = slices.Compact(id.Sites)
	if id.Role == Admin {
		id.Sites = nil
	} else if len(o.Sites) > 0 && len(id.Sites) == 0 {
		return id, false // no sites would mean every site
	}
	return id, id.Role != ""
}

func (g *Guard) refuseOIDC(w http.ResponseWriter, r *http.Request, v LoginView, err error) {
	g.Log.Warn("a login by OpenID Connect failed", "error", err)
	v.Error = "Signing in did not work: " + err.Error() + "."
	if errors.Is(err, context.DeadlineExceeded) {
		v.Error = "The OpenID provider does not answer."
	}
	g.page(w, r, http.StatusForbidden, v)
}
