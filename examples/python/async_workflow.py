"""Ten calls of one session from asyncio: the async workflow of seed 004."""

import asyncio

from sojourn.client import AsyncClient


async def session_workflow():
    async with AsyncClient() as client:
        # Create session
        result = await client.run({
            "app": "session-test",
            "function": "set_value",
            "input": {"key": "sum", "value": 0},
            "session": "new",
            "session_timeout": 300
        })
        session_id = result["session_id"]

        # Run operations
        tasks = [
            client.run({
                "app": "session-test",
                "function": "increment",
                "input": {"key": "sum", "amount": i},
                "session": session_id
            })
            for i in range(10)
        ]

        # These run one after the other on the same worker, in whatever order they arrive
        results = await asyncio.gather(*tasks)
        await client.attach(session_id).end()
        return max(result["output"]["current"] for result in results)


print("sum:", asyncio.run(session_workflow()))
