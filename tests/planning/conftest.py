from hypothesis import settings

# Two busy cores make honest examples slow; a time limit per example would only cry wolf.
settings.register_profile("planning", deadline=None)
settings.load_profile("planning")
