"""Loads a table once and analyses it many times: the data processing pipeline of seed 004."""

from sojourn.client import Client

with Client() as client:
    # Load data once
    result = client.run({
        "app": "data-processor",
        "input": {"action": "load", "dataset": "weather"},
        "session": "new",
        "session_timeout": 900
    })
    session_id = result["session_id"]
    print(f"loaded {result['output']['rows']} rows")

    # Run multiple analyses
    analyses = ["summary", "correlations", "outliers", "trends"]

    for analysis in analyses:
        result = client.run({
            "app": "data-processor",
            "input": {"action": "analyze", "type": analysis},
            "session": session_id
        })
        print(f"{analysis}: {', '.join(result['output'])}")

    client.attach(session_id).end()
