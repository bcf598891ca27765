"""Reads prefect.yaml and the source of the flows that it deploys, without importing Prefect."""

from horae.prefect.yaml.deployment import Deployment, FlowSchedule
from horae.prefect.yaml.flow_source import FlowSource, read_flow
from horae.prefect.yaml.reading import PrefectFile, Reading, read

__all__ = ["Deployment", "FlowSchedule", "FlowSource", "PrefectFile", "Reading", "read", "read_flow"]
