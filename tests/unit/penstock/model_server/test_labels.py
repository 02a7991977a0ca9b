import pytest

from penstock.local.model_server.labels import Card, cards_in, choose_from

BILLING, DELIVERY = Card("billing", "invoices and charges"), Card("delivery", "where is it")


@pytest.mark.parametrize(
    "text",
    [
        "Labels:\n- billing: invoices and charges\n- delivery: where is it",
        "Labels:\n\n* **billing**: invoices and charges\n* **delivery**: where is it\n",
        "The categories are\n1. billing - invoices and charges\n2. delivery - where is it\n\nAnswer with one.",
        "- `billing`: invoices and charges\n- `delivery`: where is it",
        "Intents:\n- billing (invoices and charges)\n- delivery (where is it)",
        "Labels:\n- billing: invoices\n  and charges\n- delivery: where is it",
        "| Label | Meaning |\n|---|---|\n| billing | invoices and charges |\n| `delivery` | where is it |",
        "Rules:\n- Use JSON.\n- Never guess.\n\nLabels:\n- billing: invoices and charges\n- delivery: where is it",
    ],
)
def test_a_described_list_is_read(text):
    """Bullets, numbers and tables give names with their descriptions; other lists in the prompt are not labels."""
    assert cards_in(text) == (BILLING, DELIVERY)


@pytest.mark.parametrize(
    "text",
    [
        "Labels: billing, delivery, or other",
        "Choose one of billing, delivery or other.",
        'Answer with one of: "billing", "delivery", "other".',
        'Categories: ["billing", "delivery", "other"]',
        "Possible intents: billing | delivery | other",
        "- billing\n- delivery\n- other",
    ],
)
def test_an_undescribed_list_is_read(text):
    """Names on one line, or bare items, are labels without descriptions."""
    assert cards_in(text) == (Card("billing"), Card("delivery"), Card("other"))


def test_names_may_be_phrases_under_a_heading_that_speaks_of_labels():
    """A list of phrases counts when the line above it says what it is."""
    text = "Choose the topic:\n- Late delivery: it has not come\n- Wrong item"
    assert [card.name for card in cards_in(text)] == ["Late delivery", "Wrong item"]


@pytest.mark.parametrize(
    "text",
    [
        "You are a helpful assistant.",
        "Follow these rules:\n- Answer briefly: one sentence.\n- Be polite",
        "Rules for choosing the label:\n- If unsure: ask back.\n- Say nothing else",
        "Please classify the message, and be careful.",
    ],
)
def test_instructions_are_not_labels(text):
    """Prose and lists of instructions offer no labels."""
    assert cards_in(text) == ()


def test_examples_belong_to_the_label_they_name():
    """Arrow lines and message/label pairs become examples, in any spelling of the label's case."""
    text = (
        "Labels:\n- billing: invoices and charges\n- delivery: where is it\n\n"
        'Example: "why two invoices?" -> billing\n- "it is late" => Delivery\n\n'
        "Message: no parcel yet\nLabel: delivery\n"
    )
    billing, delivery = cards_in(text)
    assert billing.examples == ("why two invoices?",)
    assert delivery.examples == ("it is late", "no parcel yet")


def test_examples_alone_offer_their_labels():
    """Without a list, the labels are those that the examples name."""
    cards = cards_in('"why two invoices?" -> billing\n"it is late" -> delivery\n"too late" -> delivery')
    assert cards == (Card("billing", "", ("why two invoices?",)), Card("delivery", "", ("it is late", "too late")))


def test_an_enum_decides_the_names_and_the_list_describes_them():
    """Names that are allowed are kept as they are spelled; what is not allowed is dropped."""
    assert choose_from(["Billing", "other"], (BILLING, DELIVERY)) == (
        Card("Billing", "invoices and charges"),
        Card("other"),
    )
