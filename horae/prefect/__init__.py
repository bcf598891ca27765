"""All that knows Prefect: its API, deploying, cron differences, flow runs. yaml/ reads prefect.yaml without Prefect."""
