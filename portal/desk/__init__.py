"""The operator's desk: findings, dashboard panels, histories, exports and the admin site."""
