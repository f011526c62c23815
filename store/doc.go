// Package store keeps events in ClickHouse: a server of version 18.16 or newer over the
// native protocol, or the embedded engine beside the program. It migrates the tables,
// writes batches, and answers reports.
//
// Rules it keeps:
//   - Raw events are the single truth. A row is never updated; everything else is derived
//     from events and can be derived again.
//   - [Store.Write] returns nil only when the batch is definitely stored, each event once.
//   - Queries are the same text on every server. Only definitions of tables and settings
//     of inserts depend on what a server can do.
//   - A server that is down is waited for, not an error. No password is in an error, in a
//     log or in a printed value. No log line holds a value of an event.
//
// # Exactly once
//
// A batch has a random id that is the same whenever it is replayed, and every row carries
// it. The rows of a batch that fall into one month go into one block; the server makes
// one part of a block in one partition, and a part appears whole or not at all. So of a
// (batch, month) the database holds either all rows or none, and which of the two can be
// asked: count() over the batch's id, days and sites. What remains is to ask only when
// nothing can change the answer any more. An insert ends in one of these ways:
//
//   - The server confirms it: the part is committed. The rows are counted all the same, because
//     a disk that fills up can leave a confirmed part without content.
//   - It fails before any row was sent: nothing happened. Over the native protocol that is
//     certain, because rows follow only after the server has begun the query and answered
//     with the table's columns.
//   - It fails later: an exception, a cut connection, no answer in time. Then the query had
//     begun and is in system.processes for as long as it can commit anything. The store
//     kills it by its id, waits until it is gone, and only then counts. All rows: done.
//     None: the insert is repeated.
//   - The server is killed: the query ended with it. After its start the part is either
//     there or not (what it had not finished it deletes), so that counting decides.
//   - This process is killed: its spool still holds the batch and replays it, marked as
//     such. The first step is then to ask, and it covers queries that the dead process has
//     left running, since their ids begin with the batch's.
//   - The spool removes the batch after Write has returned, and is killed before the
//     removal: the replay finds all rows and inserts nothing.
//   - A batch of several months is written month by month, earliest first; each is decided
//     by itself, so that a stop between two leaves nothing in doubt.
//
// The embedded engine takes an insert in one HTTP request, which a stopped process could
// read from its socket long after the client has gone, when it is in no list of
// processes yet. There (and on all servers that know it) every attempt carries the same
// deduplication token, and whichever of two is committed second is dropped by the server.
// The token alone would not do: a server can be killed after it has noted a token and
// before it commits the part, and would refuse that block for ever with "already there".
// So after each repeated insert the rows are counted once more, and if they are missing
// the next attempt carries another token.
//
// The same holds of the ledger, whose rows of a batch follow the events as blocks of their own,
// one a month: whatever of a batch's blocks is there when it is replayed is found by its own
// question. Between the two a batch is half there; [Store.Ledger] leaves out the batches that the spool
// still has, and counts those there.
//
// A part that is there with only some of the rows would contradict all this. If it is ever
// seen, it is logged as an error and the missing rows are stored, told apart by event_id (of a minute of which rows were
// erased none is: nobody knows which those were).
//
// # Erasing
//
// [Store.Erase] takes rows out of events on somebody's order, see there. Before a row is
// deleted, the ledger says of its batch, site and minute how many are. So of a batch the database
// holds all rows, or none, or all but as many as the ledger says, and "is it there" is asked of both tables: what
// was stored and erased is stored, and a replay of it inserts nothing. The rows of the ledger that say so are
// written like a block, under a number that is the order's, and only what is on the ledger is
// deleted; whatever is killed, the same order goes on from what it finds. All events of a batch, site and
// minute are of one day and so in one part: the count is that of the rows, whenever it is taken.
//
// The order itself is not in the database: who gives one keeps it where a crash does not
// take it, until Erase has returned, and has all batches that may hold its rows stored first.
//
// # Disposing
//
// [Store.Dispose] removes what is older than its site keeps. Rows of events that the books still have go on
// them first as disposed, by batch and minute as erased ones do, so the argument above holds for them as well: a
// replay finds them on the ledger and inserts nothing. But the ledger is disposed of too, and then nobody could tell
// a batch that was never stored from one that was stored and disposed of. So nothing may be replayed that has such
// rows. The batches of the queue are known, and theirs are not removed while they are in it: a batch that is
// there when the writers' gate is shut is passed over, whether it is stored or not, and one that comes after it has opened is not
// among the rows that the server was told to delete. Of the segments that are kept though they are stored, the
// old events are taken out while the gate is shut, after the queue was read: what is kept later was in the
// queue then. What waits in the queue and is too old is stored, counted, and goes with the run after that.
//
// # What a power failure takes
//
// A server confirms an insert when the part's files are written to the system's cache;
// the disk has them up to half a minute later. The death of a process loses nothing then, that of
// the machine can. Where the server can do it (21.1 and newer, the engine included) the
// table events is made with fsync_after_insert and fsync_part_directory, and a
// confirmed part is on the disk. Older servers have no such setting: a power failure of
// their machine can lose the events of its last half minute. Against that a spool can keep segments
// for a while after they were stored, and put them back into its queue when it is told to; the questions
// above make that safe at any time, also after rows were erased on purpose.
package store
