"""Every job and task has a name that people can read."""

from portal.work.names import NAMES, describe_work
from portal.work.queue import tasks
from portal.work.schedules import jobs


def test_every_job_and_task_has_a_name():
    assert {item.name for item in [*jobs.all(), *tasks.all()]} - NAMES.keys() == set()


def test_unknown_work_is_called_by_its_stored_name():
    assert describe_work("former.job") == "former.job"


def test_no_task_hides_a_job_of_the_same_name() -> None:
    found = [job.name for job in jobs.all()] + [task.name for task in tasks.all()]
    assert sorted(found) == sorted(set(found))
