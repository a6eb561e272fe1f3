"""The portal's own backups: archives of its database, secrets and reports, and how they are restored and proven."""
