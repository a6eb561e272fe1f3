"""Search sources: machines."""

from agents.models import Agent
from portal.desk.search import Source, sources


def describe_machine(agent: Agent) -> str:
    hostname = "" if agent.is_called(agent.hostname) else agent.hostname
    return " · ".join(part for part in (hostname, agent.user_name or agent.user_email or agent.user_id) if part)


sources.register(Source(Agent, ("name", "hostname", "user_name", "user_email"), detail=describe_machine))
