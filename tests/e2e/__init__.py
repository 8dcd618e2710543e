"""longshore from the outside: real clients, a real engine, real crashes."""
