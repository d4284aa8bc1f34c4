"""Emoji world: small pictures whose content is known exactly."""
