"""The loops of a process, one a file: dispatcher, relay, consumer, sweeper and others. duty.py repeats each of them."""
