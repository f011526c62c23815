// Package policy turns the running configuration into what people are told: the notice,
// its versions, and the receipts that visitors take away.
//
// Rules it keeps:
//   - What is said comes from [Facts], and those from the configuration that is in force: nobody
//     writes a fact by hand.
//   - A version of the notice is a set of facts with one meaning. Wording makes no version.
//   - Nothing here knows a visitor: no receipt, file or error of this package holds anything of
//     the person or the request.
//   - It is pure: it imports none of the other packages but event, and touches its own files in
//     the data directory only.
package policy

import "fmt"

// Act is a choice that a visitor made, and can have a receipt of. Its text is stored in receipts:
// never change one.
type Act string

// The acts.
const (
	OptOut     Act = "opt-out"    // not to be counted on this browser any more
	OptIn      Act = "opt-in"     // to be counted again
	Consent    Act = "consent"    // to the first-party cookie
	Withdrawal Act = "withdrawal" // of that consent
	Erasure    Act = "erasure"    // of what is held
)

// Acts returns every act.
func Acts() []Act { return []Act{OptOut, OptIn, Consent, Withdrawal, Erasure} }

// ParseAct reads the text of an act.
func ParseAct(s string) (Act, error) {
	for _, a := range Acts() {
		if s == string(a) {
			return a, nil
		}
	}
	return "", fmt.Errorf("policy: %q is no act", s)
}
