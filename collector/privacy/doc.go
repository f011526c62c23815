// Package privacy is what the person who is counted can do: opt out and back in, agree to a cookie and
// withdraw that, see what is held that still leads to them, and delete it. It makes the pages and the answers
// for programs; package collector has the routes and tells who is asking.
//
// Rules it keeps:
//   - No address and no User-Agent reaches it: a [Request] has no field for one. It sees ids, which it
//     neither shows nor logs, and the truncated network not even that.
//   - The value of a cookie stays in its request: it is in no page, log line or error.
//   - Two cookies and no other: one that says "1", and one that a visitor agreed to ([Consent]). Both are
//     set by the server alone, for the site itself, and never for another.
//   - What is shared is never shown in detail: without the consented cookie the id is that of
//     everybody behind one network with the same browser, so there are counts and neither pages nor times.
//   - What takes something from a visitor (counting again, consent, deletion) comes from the site's own
//     pages only. Opting out and withdrawing may come from anywhere.
//   - Every page works without JavaScript, and has none.
package privacy
