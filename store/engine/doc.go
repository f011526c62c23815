// Package engine runs ClickHouse's embedded library, libchdb, in a child process and serves the part
// of ClickHouse's HTTP interface that clickhouse-go uses on a Unix socket, so that the rest of the
// program sees an ordinary ClickHouse server.
//
// Rules it keeps:
//
//   - The library is only ever loaded in the child (Main). A query that runs out of memory or a
//     crash in the library ends the child, never the collector; the Supervisor starts it again.
//   - The socket has mode 0600 and lies in the data directory; one engine has a directory at a time,
//     by a lock on the directory itself that ends with the process that holds it.
//   - The child does not outlive its parent: the kernel signals it when the parent dies, and it
//     watches a pipe that only the parent holds open.
//   - An insert whose body is cut, or whose client is gone before the end, stores nothing. What was
//     answered with success survives a kill of the process; a power failure is the file system's
//     and the disk's affair, as it is with a server.
//   - A statement stops when its client goes away or its time is over.
//   - No statement, no data and none of the library's own output reaches a log: the child's output
//     is muted, and what it tells its parent is a handful of fixed lines.
//   - Memory is bounded, for the engine as a whole and for each statement; see Options.
//
// What differs from a server: statements are answered in Native format only, without compression and
// without sessions (settings last for one request); the engine chooses query ids itself, but
// statements about system.processes and KILL QUERY may use those that clients chose; settings in
// system.processes show a log_comment that is the bridge's own.
package engine
