package classify

// noisy holds the patterns of isbot that are not used. They guess from the shape of an agent and
// take people's apps and old telephones for robots; an agent of such a shape in which
// neither a browser nor a system is known is a robot here anyway.
var noisy = map[string]bool{
	`;\s\w+;$`:                   true,
	`@[a-z][\w-]+\.`:             true,
	`\(\)`:                       true,
	`\.com\b`:                    true,
	`\b\w+/1\.0;`:                true,
	`\|`:                         true,
	`^[<\(;]`:                    true,
	`^[^ ]{50,}$`:                true,
	`^\d+\b`:                     true,
	`^\w*search\b`:               true,
	`^[\w\-]+/[\w]+$`:            true,
	`^\w+/[\w\(\)]*$`:            true,
	`^mozilla/\d\.\d\s[\w\.-]+$`: true,
	`^\w+/\d\.\d\s\([\w@]+\)$`:   true,
	`^[\w \.\-\(?:\):%]+(?:/v?\d+(?:\.\d+)?(?:\.\d{1,10})*?)?(?:,|$)`:      true,
	`^mozilla/\d\.\d\s\((?:compatible;)?(?:\s?[\w\d-.]+[\s/]\d+\.\d+)?\)$`: true,
}

// byHand translates the patterns that look ahead or behind, which RE2 has not: what may not
// come before or after is spelled out as what may.
var byHand = map[string]string{
	`(?:^|[^g])news(?!sapphire)`:                                `(?:^|[^g])news(?:$|[^s]|s$|s[^a]|sa$|sa[^p]|sap$|sap[^p])`,
	`(?<! channel/|google/)google(?!(?:wv|app|/google| pixel))`: `(?:^|[^/]|[^el]/|[^g][el]/)google(?:$|w$|w[^v]|a$|a[^p]|ap$|ap[^p]|/$|/[^g]| $| [^p]|[^wa/ ])`,
	`(?<! cu)bots?(?:\b|_)`:                                     `(?:^.{0,2}|[^u]|[^c]u|[^ ]cu)bots?(?:\b|_)`,
	`(?<!cam)scan`:                                              `(?:^.{0,2}|[^m]|[^a]m|[^c]am)scan`,
	`(?<!lib)http`:                                              `(?:^.{0,2}|[^b]|[^i]b|[^l]ib)http`,
	`java(?!;)`:                                                 `java(?:[^;]|$)`,
}
