"""The caption grammar: a scene's labels in words."""
from world.backgrounds import PHRASES
from world.scenes import Scene, Subject


def noun(subject: Subject) -> str:
    words = f"{subject.colour} {subject.name}" if subject.colour else subject.name
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(scene: Scene) -> str:
    nouns = [noun(s) for s in scene.subjects]
    if len(nouns) == 2:
        text = f"{nouns[0]} {scene.relation} {nouns[1]}"
    elif len(nouns) == 3:
        text = f"{nouns[0]}, {nouns[1]} and {nouns[2]}"
    else:
        text = nouns[0]
    return f"{text} {PHRASES[scene.background]}"
