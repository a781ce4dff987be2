/* Delivery and low watermarks (docs/delivery.md), for SPIN to look at every state that can be reached.

   EDGES edges, one or two, send a run of ROWS rows each, at the event times 1, 2, 3. Kafka has two partitions. With JOB,
   one edge's two rows are read by Flink's job, and its answers are judged. Without JOB the job is left out: it reads a
   partition in its order, so it cannot miss a row unless a low watermark of the row's event time or more stands before
   the row's first copy in the row's partition. That is judged then.

   Loss, doubling, delay, reordering, and the kill of a broker or of the flow, which forget messages and hand others on
   twice, are one thing here: a message that was made may arrive at any time, any number of times, or never. The same
   holds for confirmations, and for what edges say to each other: the broker may forget it, or go back to older words.
   Edges and the job are killed at any time, any number of times.

   A low watermark is a number: 0 is below all rows, i is the time of row i, DONE is an end mark's. -DMUTANT=... leaves
   one rule out: the model must then fail. -DREACH=... asks for a way to something: the model must fail as well. */

#ifndef EDGES
#define EDGES 2
#endif
#ifndef ROWS
#define ROWS 1
#endif
#ifndef LOG
#define LOG 4 /* records of a partition at most, with JOB */
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef REACH
#define REACH 0
#endif

#define ONE_ROW_TOO_HIGH 1 /* the oldest unconfirmed row does not hold its edge's low watermark back */
#define FORGETS_UNCONFIRMED 2 /* an edge that goes on leaves out what was sent and not confirmed */
#define BROKER_CONFIRMS 3 /* a row counts as confirmed when it is sent: by the broker's word */
#define ENDS_ALONE 4 /* an edge that is done marks the end, whatever the others do */
#define OTHERS_PLUS_ONE 5 /* another edge's low watermark is taken one too high */
#define NO_WAITING 6 /* a silent edge is left out, as after a timeout */
#define LATE_JOINER 7 /* an edge of which the others were not told sends a row */
#define ID_USED_AGAIN 8 /* what an earlier run of the same id left behind is believed */
#define MARKS_ONE_PARTITION 9 /* the flow does not copy marks into each partition */
#define GREATEST_LEADS 10 /* the job's watermark is the greatest of its partitions' */
#define COPIES_COUNT 11 /* the job does not tell copies apart */
#define CLOSED_IS_FORGOTTEN 12 /* a checkpoint does not have the watermark up to which windows are closed */
#define ANSWERS_AT_ONCE 13 /* answers are not committed with a checkpoint, but written when windows close */
#define END_MARKED_ONCE 14 /* the end is not marked again for a job that went on from a checkpoint */

#define A_ROW_TWICE 1 /* Kafka has a row twice */
#define ROWS_REORDERED 2 /* Kafka has a later row of an edge without an earlier one */
#define OLD_MANIFEST 3 /* an edge goes on from less than it knew to be confirmed */
#define OLDER_WORDS 4 /* an edge hears what an earlier run left behind, after this run's */
#define END_MARKED 5 /* all edges are done, and the end is marked */
#define MESSAGE_LOST 6 /* the end is in both partitions, and a heartbeat that was made in none */
#define COPY_IN_TIME 7 /* the job reads a copy before its window closes */
#define LATE_COPY 8 /* and after that */
#define ANSWER_UNDONE 9 /* the job is killed, and what it wrote was not committed */
#define MARKED_AGAIN 10 /* the end is marked again for a job that went on from a checkpoint */
#define ALL_ANSWERED 11 /* every window has its answer */
#define REACHES(what, when) assert(REACH != (what) || !(when))

#define DONE (ROWS + 1)
#define ROW(edge, i) ((edge) * ROWS + (i))
#define EVENT_TIME(row) ((row) % ROWS + 1)
#define PARTITION(row) (((row) / ROWS + (row)) % 2)
#define OUTSIDER (EDGES * ROWS) /* the row of an edge that was not declared, at 1 */
#define MARK (OUTSIDER + 1) /* a heartbeat or an end mark, in place of a row */
#define HAS(set, i) ((set) >> (i) & 1)
#define BELOW(i) ((1 << (i)) - 1) /* the set of all numbers below i */
#define LEAST(a, b) ((a) < (b) -> (a) : (b))
#define GREATEST(a, b) ((a) > (b) -> (a) : (b))
#define FIRST_NOT_IN(set) (!HAS(set, 0) -> 0 : (!HAS(set, 1) -> 1 : (!HAS(set, 2) -> 2 : 3)))

byte messages[MARK + 1]; /* of each row, and of marks: the set of low watermarks of the messages that were made */
byte arrived; /* the set of rows of which Kafka has a copy */
byte ended; /* the set of partitions that have an end mark */

/* Edges: edge_replayer/in_flight.py, and what is on disk, the manifest. */
byte made[EDGES]; /* how many rows its process has made */
byte confirmed[EDGES]; /* the set of its rows that it knows to be confirmed */
bool done[EDGES];
/* What edges know of each other: edge_replayer/edges.py. */
bool joined[EDGES];
byte knows[EDGES]; /* the set of the others whose incarnation it has heard last; it may be an earlier run's otherwise */
byte said[EDGES]; /* the greatest low watermark that it has said with the right members, plus 1 */
byte heard[EDGES * EDGES]; /* the greatest low watermark that it has heard of another, plus 1 */

#if MUTANT == ONE_ROW_TOO_HIGH
#define PASSED(edge) ((confirmed[edge] | confirmed[edge] + 1) & BELOW(made[edge]))
#else
#define PASSED(edge) confirmed[edge]
#endif
#define OWN(edge) (done[edge] -> DONE : FIRST_NOT_IN(PASSED(edge))) /* InFlight.low_watermark */
#define MEMBERS_ARE_RIGHT(edge) ((knows[edge] | 1 << (edge)) == BELOW(EDGES)) /* Edges.members */
#define HEARD_ALL(value) (HEARD(0, value) && HEARD(EDGES - 1, value))
#define HEARD(other, value) ((other) == me || heard[me * EDGES + (other)] >= (value))
#if MUTANT == ENDS_ALONE
#define ALL_DONE true
#else
#define ALL_DONE HEARD_ALL(DONE + 1) /* Edges.all_done */
#endif

#ifdef JOB
byte logs[2 * LOG], length[2]; /* Kafka: each record a row, or MARK, and its low watermark */
bool is_read; /* nothing that the job does changes what comes into the log: so it is made first, then read */
#define MAKES_THE_LOG provided (!is_read)
bool restarted; /* the job has gone on from a checkpoint, and the end was not marked again since */
#define ROOM(part) (length[part] < LOG - (part))
inline append(row, low, part) {
    logs[(part) * LOG + length[part]] = (row) << 4 | (low);
    length[part]++
}
#else
#define MAKES_THE_LOG
byte greatest[2]; /* Kafka: the greatest low watermark in each partition */
#define ROOM(part) true
inline append(row, low, part) {
    assert((row) == MARK || HAS(arrived, row) || greatest[part] < EVENT_TIME(row)); /* no window closes over it */
    greatest[part] = GREATEST(greatest[part], low)
}
#endif

/* Edges.least, which sender.py stamps a message with, into `least`. */
inline stamp() {
    least = OWN(me);
    other = 0;
    do
    :: other < EDGES && other != me && MUTANT != NO_WAITING ->
        value = heard[me * EDGES + other];
        value = value + (MUTANT == OTHERS_PLUS_ONE && value && value <= DONE -> 1 : 0);
        least = (value -> LEAST(least, value - 1) : 0);
        other++
    :: other < EDGES && (other == me || MUTANT == NO_WAITING) -> other++
    :: other == EDGES -> break
    od;
    other = 0;
    value = 0
}

inline forget_the_others() {
    other = 0;
    do
    :: other < EDGES -> heard[me * EDGES + other] = 0; other++
    :: else -> break
    od;
    other = 0
}

/* resume.py: killed, it goes on with the rows behind the first `rows`; the manifest that says so may be old. */
#define GOES_ON(rows) \
    :: d_step { FIRST_NOT_IN(confirmed[me]) >= rows -> \
        REACHES(OLD_MANIFEST, FIRST_NOT_IN(confirmed[me]) > rows); \
        made[me] = (MUTANT == FORGETS_UNCONFIRMED -> made[me] : rows); \
        confirmed[me] = BELOW(made[me]); \
        done[me] = false; \
        knows[me] = (joined[me] -> BELOW(EDGES) : 0); /* members and joined are on disk */ \
        forget_the_others() }

proctype edge(byte me) MAKES_THE_LOG {
    byte least, other, value;
    do
    /* It knows who the members are, and joins: its first row may be sent. */
    :: d_step { !joined[me] && MEMBERS_ARE_RIGHT(me) && HEARD_ALL(1) -> joined[me] = true }
    /* It says its low watermark. */
    :: d_step { MEMBERS_ARE_RIGHT(me) && said[me] < 1 + OWN(me) -> said[me] = 1 + OWN(me) }
    /* It makes its next row's message; it makes a heartbeat. What is sent again is the same message. */
    :: d_step { joined[me] && made[me] < ROWS ->
        stamp();
        messages[ROW(me, made[me])] = messages[ROW(me, made[me])] | 1 << least;
        made[me]++;
        least = 0 }
    :: d_step { joined[me] ->
        stamp();
        messages[MARK] = messages[MARK] | (least > 0 && least < DONE -> 1 << least : 0);
        least = 0 }
    /* It has all rows confirmed; it marks the end. */
    :: d_step { joined[me] && confirmed[me] == BELOW(ROWS) && !done[me] -> done[me] = true }
    :: d_step { done[me] && ALL_DONE ->
        REACHES(END_MARKED, true);
        messages[MARK] = messages[MARK] | 1 << DONE }
    GOES_ON(0) GOES_ON(1) GOES_ON(2) GOES_ON(3)
    od
}

/* What one edge hears of another. */
proctype hearing(byte me, from) MAKES_THE_LOG {
    byte other;
    do
    /* Edges._meet: another incarnation, this run's or an earlier run's, makes other members. */
    :: d_step { !joined[me] ->
        REACHES(OLDER_WORDS, HAS(knows[me], from));
        knows[me] = knows[me] ^ 1 << from;
        forget_the_others() }
    /* Edges._believe: anything that was ever said with the right members. */
    :: d_step { MEMBERS_ARE_RIGHT(me) && heard[me * EDGES + from] < said[from] -> heard[me * EDGES + from]++ }
#if MUTANT == ID_USED_AGAIN
    :: d_step { !joined[me] -> heard[me * EDGES + from] = DONE + 1; knows[me] = BELOW(EDGES) }
#endif
    od
}

/* Mosquitto and the flow's sink: any message that was made arrives in a partition. */
#define ARRIVES(row, low, part) \
    :: d_step { HAS(messages[row], low) && ROOM(part) -> \
        REACHES(A_ROW_TWICE, HAS(arrived, row)); \
        REACHES(ROWS_REORDERED, (row) != MARK && (row) % ROWS == 1 && !HAS(arrived, (row) - 1)); \
        append(row, low, part); \
        arrived = ((row) == MARK -> arrived : arrived | 1 << (row)); \
        ended = ((low) == DONE -> ended | 1 << (part) : ended) }
#define ARRIVES_WITH_ANY(row, part) \
    ARRIVES(row, 0, part) ARRIVES(row, 1, part) ARRIVES(row, 2, part) ARRIVES(row, 3, part) ARRIVES(row, 4, part)

proctype way(byte row) MAKES_THE_LOG {
    do
    ARRIVES_WITH_ANY(row, PARTITION(row))
    /* Its confirmation arrives, at a process that has made the row: InFlight.confirm. */
    :: d_step { row != OUTSIDER && (HAS(arrived, row) || MUTANT == BROKER_CONFIRMS) && made[row / ROWS] > row % ROWS ->
        confirmed[row / ROWS] = confirmed[row / ROWS] | 1 << row % ROWS }
    od
}

proctype way_of_marks(byte part) MAKES_THE_LOG {
    do
    ARRIVES_WITH_ANY(MARK, part)
    od
}

#if MUTANT == MARKS_ONE_PARTITION
#define MARKED_PARTITIONS 1
#else
#define MARKED_PARTITIONS 2
#endif
#define END_IS_CONFIRMED (ended == BELOW(MARKED_PARTITIONS))

#ifdef JOB
/* Each of two rows has a window; the first closes at the row's time, the other by the end mark. */
#define WINDOW(row) (row)
#define CLOSES(window) ((window) == 0 -> 1 : DONE)
#define ROWS_OF(window) (1 << (window))
#define DOUBLED 7 /* in place of a row: one was counted twice */

#if MUTANT == GREATEST_LEADS
#define WATERMARK GREATEST(watermark[0], watermark[1])
#else
#define WATERMARK LEAST(watermark[0], watermark[1])
#endif

typedef Progress {
    byte read[2]; /* how far each partition is read */
    byte counted; /* the set of rows in open windows */
    byte closed; /* windows are closed up to here; operators keep this watermark in their state */
}
byte answered; /* the set of windows whose answers are committed */

inline close(window) {
    if
    :: job.closed < CLOSES(window) && CLOSES(window) <= WATERMARK && (job.counted & ROWS_OF(window)) ->
        assert((job.counted & (ROWS_OF(window) | 1 << DOUBLED)) == ROWS_OF(window)); /* right */
        assert(!HAS(written, window));
        written = written | 1 << (window);
        job.counted = job.counted & ~ROWS_OF(window)
    :: else
    fi
}

inline commit() {
    assert((written & answered) == 0); /* once */
    answered = answered | written;
    written = 0
}

/* What is read before a checkpoint is never read again: states that differ in that alone are one. */
#define FORGET(part) \
    do \
    :: row < job.read[part] -> logs[(part) * LOG + row] = 0; row++ \
    :: else -> break \
    od; \
    row = 0

inline copy(from, to) {
    to.read[0] = from.read[0];
    to.read[1] = from.read[1];
    to.counted = from.counted;
    to.closed = from.closed
}

#define READS(part) \
    :: d_step { job.read[part] < length[part] -> \
        row = logs[(part) * LOG + job.read[part]] >> 4; \
        watermark[part] = GREATEST(watermark[part], logs[(part) * LOG + job.read[part]] & 15); \
        job.read[part]++; \
        if \
        :: row == MARK \
        :: row != MARK && CLOSES(WINDOW(row)) <= job.closed -> /* late: a copy, as its window has its answer */ \
            REACHES(LATE_COPY, true); \
            assert(HAS(written | answered, WINDOW(row))) \
        :: row != MARK && CLOSES(WINDOW(row)) > job.closed -> \
            REACHES(COPY_IN_TIME, HAS(job.counted, row)); \
            job.counted = job.counted | 1 << (MUTANT == COPIES_COUNT && HAS(job.counted, row) -> DOUBLED : row) \
        fi; \
        row = 0 }

/* flink_jobs/tables.py, and Flink. */
proctype reads_and_answers() provided (is_read) {
    Progress job, checkpoint;
    byte watermark[2], written, row;
    do
    READS(0) READS(1)
    /* The watermark goes on, and windows close. */
    :: d_step { WATERMARK > job.closed ->
        close(0);
        close(1);
        job.closed = WATERMARK;
#if MUTANT == ANSWERS_AT_ONCE
        commit()
#endif
        }
    /* A checkpoint is complete: what was written is committed with it. */
    :: d_step { true ->
        commit();
        REACHES(ALL_ANSWERED, answered == 3);
        copy(job, checkpoint);
        FORGET(0);
        FORGET(1);
        /* The run has ended and is read to its end: every window has its answer. streamproof/chain/ended_runs.py */
        assert(!END_IS_CONFIRMED || restarted || job.read[0] < length[0] || job.read[1] < length[1] ||
            WATERMARK > job.closed || answered == 3) }
    /* It is killed and goes on from its checkpoint, which does not have the partitions' watermarks. */
    :: d_step { true ->
        REACHES(ANSWER_UNDONE, written);
        copy(checkpoint, job);
        job.closed = (MUTANT == CLOSED_IS_FORGOTTEN -> 0 : job.closed);
        watermark[0] = 0;
        watermark[1] = 0;
        written = 0;
        restarted = (MUTANT != END_MARKED_ONCE) }
    /* The supervisor marks the end again. */
    :: d_step { END_IS_CONFIRMED && restarted && ROOM(0) && ROOM(1) ->
        REACHES(MARKED_AGAIN, true);
        append(MARK, DONE, 0);
        append(MARK, DONE, 1);
        restarted = false }
    od
}
#endif

init {
    byte me, other;
    atomic {
        do
        :: me < EDGES ->
            run edge(me);
            other = 0;
            do
            :: other < EDGES -> if :: other != me -> run hearing(me, other) :: else fi; other++
            :: else -> break
            od;
            me++
        :: else -> break
        od;
        other = 0;
        do
        :: other < EDGES * ROWS -> run way(other); other++
        :: else -> break
        od;
        other = 0;
        me = 0;
#if MUTANT == LATE_JOINER
        messages[OUTSIDER] = 1; /* it does not wait until all have said the same members */
        run way(OUTSIDER);
#endif
        do
        :: other < MARKED_PARTITIONS -> run way_of_marks(other); other++
        :: else -> break
        od;
        other = 0;
#ifdef JOB
        run reads_and_answers()
    }
    d_step {
        REACHES(MESSAGE_LOST, END_IS_CONFIRMED && HAS(messages[MARK], 1) && length[0] + length[1] == 4);
        is_read = true; /* what is not of the log is forgotten, as it has no part in what follows */
        arrived = 0;
        made[0] = 0;
        confirmed[0] = 0;
        done[0] = false;
        joined[0] = false;
        knows[0] = 0;
        said[0] = 0;
        do
        :: other <= MARK -> messages[other] = 0; other++
        :: else -> break
        od;
        other = 0
#endif
    }
}
