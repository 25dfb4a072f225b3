"""What an operator of the hosted demo gets: settings, figures, a log, private files and a server."""
