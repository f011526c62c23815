// Package classify names what a hit came from: the browser, system and device of a
// User-Agent, whether it is a robot ([Agents]); the site, campaign and channel that led
// to the page ([Sources]); and the country, region and city of a truncated address ([Geo]).
//
// Rules it keeps:
//   - Nothing it returns or remembers can stand in for a person: the cache of agents is
//     keyed by a hash under a seed that dies with the process, never by the agent; of a
//     referrer only host and path are kept; of a click identifier only its parameter's name.
//   - Every answer is valid UTF-8 and bounded, whatever the input.
//   - No look-up leaves the machine. Tables are data files, embedded, beside their licences.
//     The lists of robots are those of two npm packages; internal/lists/refresh writes them anew
//     after a new version is installed, and a test holds the two against each other.
//   - Everything is safe for concurrent use, and there is no mutable package state.
package classify
