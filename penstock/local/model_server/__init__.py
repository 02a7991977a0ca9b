"""A local, OpenAI-compatible model server: three small models trained on public data, with true token probabilities.

It is no language model and does not pretend to be one: it classifies and extracts. But like a real model it knows only
the request. Labels, what they mean, examples, sources and the format wanted are read from the chat messages and from
`response_format`, so that a worse prompt gives worse answers.

**The text to work on** is in the last user message: the last part of it between `<message>...</message>` (also
`text`, `input`, `ticket`, `email`, `query`, `question`), or between triple double quotes or triple backticks, or
after a line that begins with `Message:` (or one of those words); otherwise all of it. What surrounds it counts as
instructions.

**Labels** come from an `enum` (or `oneOf` of `const`) in the JSON Schema, or else from the instructions:

    Labels:                                  | label | meaning |        Labels: billing, delivery, other
    - card_arrival: still waiting for it     |-------|---------|        Choose one of "billing", "delivery" or "other".
    - age_limit: how old one must be         | a     | ...     |        Categories: ["billing", "delivery"]

A list counts if the line above it speaks of labels (categories, intents, classes, options, topics, queues, tags), or
if all its names are identifiers. Descriptions follow a colon or a dash, or stand in brackets. With an enum, the list
still supplies the descriptions. Labels are understood through their wording, never recognised by name: undescribed
labels are understood less well, and labels of one's own work as far as their wording and examples carry.

**Examples** are lines `Example: "..." -> card_arrival`, pairs of lines `Message: ...` and `Label: ...`, or earlier
turns of the conversation.

**Sources** are `<source id="a1">...</source>` (also `chunk`, `document`, `doc`, `passage`, `snippet`), paragraphs
that begin with `[a1]`, or tool messages. Texts and quotes are then taken from them, and fields named like citations
carry their ids.

**The format** is `response_format`; without one, JSON if the instructions speak of JSON (the keys of an example
object in them are used), else plain text: the bare label. Without labels to choose from, the model makes up a name.

The first 2,000 characters of a text are read for meaning. Tokens are approximate; see `tokens`.
"""
