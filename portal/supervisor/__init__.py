"""The processes of the portal: started, restarted and ended together, with none left behind."""
