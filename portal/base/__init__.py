"""Building blocks of every package: settings, files, processes, logs, problems, words. They import no other package."""
