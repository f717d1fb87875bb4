"""The authority over HTTP: a standard OAuth authorization server for agents. Needs the extra `deputize[server]`."""
