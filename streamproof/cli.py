"""The ``streamproof`` command: every stage's commands, and those that need several stages.

Each is imported when it is called, so that none waits for what another needs.
"""

from streamproof.lazy_group import Later, lazy_app

app = lazy_app(
    "Replay a CSV through MQTT, NiFi, Kafka and Flink, and prove every window.",
    {
        "setup": Later(
            "streamproof.chain.cli:setup",
            "Fetch and check everything that the servers need; what is there is skipped.",
        ),
        "up": Later(
            "streamproof.chain.cli:up",
            "Start the servers on this machine and wait until each is healthy; jobs that ran before go on.",
        ),
        "down": Later(
            "streamproof.stack.cli:down",
            "Stop the servers that `up` started; their data stays.",
        ),
        "status": Later(
            "streamproof.stack.cli:status",
            "Tell of every part whether it runs, under which pid, and whether it is healthy.",
        ),
        "logs": Later(
            "streamproof.stack.cli:logs",
            "Print the end of a part's log.",
        ),
        "make": Later(
            "streamproof.generator.cli:make",
            "Make CSV files of a stream, and truth.csv, which says what was put in on purpose.",
        ),
        "deploy": Later(
            "nifi_templates.cli:deploy",
            "Bring the stream's NiFi flow and Kafka topics into place, and start it; twice gives one.",
        ),
        "submit": Later(
            "streamproof.chain.cli:submit",
            "Submit one job that answers questions of a stream; returns as soon as the job runs.",
        ),
        "list": Later(
            "flink_jobs.cli:list_jobs",
            "Show the cluster's jobs: state, rows dropped as late, last checkpoint, restarts.",
        ),
        "cancel": Later(
            "flink_jobs.cli:cancel",
            "Cancel a job; its checkpoints and the windows it has committed stay.",
        ),
        "savepoint": Later(
            "flink_jobs.cli:savepoint",
            "Write a savepoint, from which `submit --from-savepoint` goes on, and print its path.",
        ),
        "resubmit": Later(
            "streamproof.chain.cli:resubmit",
            "Submit the jobs again that a JobManager that was started anew does not know, "
            "from their newest checkpoints.",
        ),
        "replay": Later(
            "edge_replayer.cli:replay",
            "Replay CSV files over MQTT as if devices were sending them.",
        ),
        "expel": Later(
            "edge_replayer.cli:expel",
            "Give up an edge of a run: the rows that it has sent count, no other follows, and the other edges go on.",
        ),
        "validate": Later(
            "streamproof.chain.proof:validate",
            "Prove that a run lost no row and that each answer is right; exit code 0 only when all is proven.",
        ),
        "audit": Later(
            "streamproof.chain.proof:audit",
            "Follow a run's rows from stage to stage; exit code 1 when any is lost. Also while the run goes on.",
        ),
        "results": Later(
            "streamproof.chain.proof:results",
            "Write a question's results of a run, as CSV, JSON, Parquet or a table for Excel.",
        ),
        "batch": Later(
            "streamproof.chain.batch_answers:batch",
            "Answer a question from files alone, or from the lake.",
        ),
        "windows": Later(
            "streamproof.chain.proof:results",
            "Write a question's results of a run, as CSV, JSON, Parquet or a table for Excel.",
        ),
        "alerts": Later(
            "streamproof.alerts.cli:alerts",
            "List the alerts of a run: what became of each, since when, and with which values it fired.",
        ),
        "report": Later(
            "streamproof.report:report",
            "Judge a run and write one HTML page that needs no network: verdict, charts, what ran, settings.",
        ),
        "dashboard": Later(
            "streamproof.dashboard.cli:dashboard",
            "Show a run on a live page, until Ctrl-C; servers and runs may come and go meanwhile.",
        ),
        "drill": Later(
            "streamproof.drills.cli:drill",
            "Kill, restart or cut off a part of the running chain, and prove that it did no harm; exit code 0 if so.",
        ),
        "bench": Later(
            "streamproof.bench.cli:bench",
            "Measure the chain and its stages on this machine; a figure whose run is not proven is not printed.",
        ),
        "demo": Later(
            "streamproof.demo:demo",
            "Start the servers, replay a stream's rows through the whole chain, and prove every answer.",
        ),
    },
)
app.add_typer(
    lazy_app(
        "Look at a stream's NiFi flow, test it, or take it away.",
        {
            "status": Later(
                "nifi_templates.cli:flow_status",
                "Show how the stream's NiFi flow does.",
            ),
            "test": Later(
                "nifi_templates.cli:flow_test",
                "Test the deployed flow: messages in, exactly the expected records and dead letters out.",
            ),
            "remove": Later(
                "nifi_templates.cli:flow_remove",
                "Take the stream's flow out of NiFi, once its queues are empty; topics and MQTT session stay.",
            ),
        },
    ),
    name="flow",
)
app.add_typer(
    lazy_app(
        "Describe a CSV file.",
        {
            "draft": Later(
                "edge_replayer.draft.cli:draft",
                "Write a contract for a CSV file, and a first question about it; "
                "what is not sure is a comment in the contract.",
            ),
        },
    ),
    name="contract",
)
app.add_typer(
    lazy_app(
        "Look at questions, check and test them, without a server.",
        {
            "list": Later(
                "flink_jobs.question_cli:list_questions",
                "List the questions that come with the project: name, stream, window, and what they ask.",
            ),
            "show": Later(
                "flink_jobs.question_cli:show",
                "Print a question's text.",
            ),
            "check": Later(
                "flink_jobs.question_cli:check",
                "Check questions as `submit` does, without a server: the text, both engines' types, Flink's plan.",
            ),
            "plan": Later(
                "flink_jobs.question_cli:plan",
                "Say what Flink does to answer a question, step by step.",
            ),
            "test": Later(
                "flink_jobs.question_cli:run_tests",
                "Run questions over a few rows in both engines, and compare with the answers that are expected.",
            ),
        },
    ),
    name="question",
)
app.add_typer(
    lazy_app(
        "Try an alert on files, tell of alerts, and see who was told.",
        {
            "backtest": Later(
                "streamproof.alerts.cli:backtest",
                "Say from files alone what would have fired; no server is needed.",
            ),
            "deliver": Later(
                "streamproof.alerts.cli:deliver",
                "Tell of alerts, until Ctrl-C: each at least once, always with the same id, "
                "and tried until it is taken.",
            ),
            "receipts": Later(
                "streamproof.alerts.cli:receipts",
                "List who was told of which alert, and what waits to be told.",
            ),
        },
    ),
    name="alert",
)
app.add_typer(
    lazy_app(
        "Look at the models that score answers.",
        {
            "digests": Later(
                "streamproof.chain.model_digests:digests",
                "Compare the digests of a model's state, in Kafka and in a batch over the files; "
                "exit code 1 where one differs.",
            ),
        },
    ),
    name="model",
)
app.add_typer(
    lazy_app(
        "Keep results and rows elsewhere, where SQL reads them; the verdict reads them back.",
        {
            "lake": Later(
                "streamproof.sinks.lake.cli:sink_lake",
                "Keep a stream's records in the lake, as they came, with their types, and as a backup; until Ctrl-C.",
            ),
            "postgres": Later(
                "streamproof.sinks.cli:postgres",
                "Store results and alerts in PostgreSQL, each exactly once: a table for each question.",
            ),
            "sqlite": Later(
                "streamproof.sinks.cli:sqlite",
                "Store results and alerts in a file of SQLite, each exactly once: a table for each question.",
            ),
        },
    ),
    name="sink",
)
app.add_typer(
    lazy_app(
        "Ask the lake, check it, and keep it small.",
        {
            "sql": Later(
                "streamproof.sinks.lake.cli:sql",
                "Ask the lake by SQL, at the newest snapshots.",
            ),
            "tables": Later(
                "streamproof.sinks.lake.cli:tables",
                "List the lake's tables: rows, files, and the snapshots that are kept, each with what it has of Kafka.",
            ),
            "check": Later(
                "streamproof.sinks.lake.cli:check",
                "Compare each of the lake's copies of a run with the files that were replayed; "
                "exit code 0 if all is right.",
            ),
            "tidy": Later(
                "streamproof.sinks.lake.cli:tidy",
                "Rewrite small files of the lake into large ones, let old snapshots go, "
                "and remove files that none names.",
            ),
        },
    ),
    name="lake",
)
