"""Running one claimed run: work.py begins and settles it, runner.py calls the job, guardian.py and watch.py keep its
lease, template.py and child.py give it a process of its own.
"""
