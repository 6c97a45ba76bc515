"""Analyses go on though their session is lost: the recovery pattern of seed 004, as the client has it."""

from sojourn.client import Client, SessionManager


def load(session):
    loaded = session.run({"action": "load", "dataset": "weather"})
    print(f"loaded {loaded.output['rows']} rows into a new session")


def strongest(manager):
    pair = manager.run({"action": "analyze", "type": "correlations"}).output["strongest"][0]
    print(f"strongest: {' and '.join(pair['columns'])}, r = {pair['pearson']:.3f}")


with Client() as client, SessionManager(client, "data-processor", timeout=600, rebuild=load) as manager:
    strongest(manager)
    strongest(manager)

    # Whatever ends it: its time-out, somebody else, or the death of its worker.
    client.attach(manager.session_id).end()
    strongest(manager)
