from hypothesis import settings

# How long an example takes says nothing here, and a busy machine must not fail a test.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
