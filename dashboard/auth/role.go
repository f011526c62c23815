package auth

import (
	"fmt"
	"slices"
)

// Right is what a route of the staff listener asks for.
type Right uint8

// The rights. Who has none may still see the login page.
const (
	Stats   Right = iota + 1 // figures of the sites that were granted
	Metrics                  // the program's own figures
	Privacy                  // notice, disposals, requests and the audit log, of all sites
	Staff                    // who may see what
)

// Role is what somebody may do. The sites whose figures somebody sees are granted apart from it.
type Role string

// The roles.
const (
	Viewer  Role = "viewer"  // sees figures
	Officer Role = "privacy" // the privacy officer: sees figures, and what is kept and done
	Admin   Role = "admin"   // may do everything
)

// Roles are all roles, the one with the fewest rights first.
var Roles = []Role{Viewer, Officer, Admin}

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	if !slices.Contains(Roles, Role(s)) {
		return "", fmt.Errorf("%q is no role: viewer, privacy or admin", s)
	}
	return Role(s), nil
}

// may tells whether the role has a right. A user of a file that is older than roles is a viewer.
func (r Role) may(right Right) bool {
	switch right {
	case Stats, Metrics:
		return true
	case Privacy:
		return r == Officer || r == Admin
	case Staff:
		return r == Admin
	}
	return false
}

// Scopes are what a token can be made for; one that is made for none in particular has both.
var Scopes = []string{"stats", "metrics"}

// Identity is who a request is from.
type Identity struct {
	Name   string // the user's or token's name; "" for somebody who came by a login link
	Token  bool   // a program
	Role   Role   // of a person
	Scopes []string
	Sites  []string // the only sites it may see; empty: every site

	Password bool // a user of the staff file, rather than somebody whom a link, a provider or a proxy vouches for
}

// MaySee tells whether the identity may see the site.
func (i Identity) MaySee(site string) bool {
	return len(i.Sites) == 0 || slices.Contains(i.Sites, site)
}

// May tells whether the identity has a right.
func (i Identity) May(right Right) bool {
	if !i.Token {
		return i.Role.may(right)
	}
	switch right {
	case Stats:
		return len(i.Scopes) == 0 || slices.Contains(i.Scopes, "stats")
	case Metrics:
		// The program's own figures are of all sites.
		return len(i.Sites) == 0 && (len(i.Scopes) == 0 || slices.Contains(i.Scopes, "metrics"))
	}
	return false
}

// String is what the audit log calls the identity.
func (i Identity) String() string {
	switch {
	case i.Token:
		return "token " + i.Name
	case i.Name == "":
		return "login link"
	}
	return i.Name
}
