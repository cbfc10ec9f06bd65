"""`sidelb doctor`: what is right and wrong on this host, in DNS and about the servers, by the code that serves."""
