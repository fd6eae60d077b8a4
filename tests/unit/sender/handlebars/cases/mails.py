"""Typical mails."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

ORDER = {
    "shop": {"name": "Tea & Co", "url": "https://tea.example/?a=1&b=2"},
    "user": {"first": "Ada", "mail": "ada@example.com"},
    "items": [{"name": "Earl Grey", "price": 4.5, "qty": 2}, {"name": "Cup <large>", "price": 12, "qty": 1}],
    "total": 21,
    "paid": False,
    "notes": "",
}
CASES = (
    Case("a greeting", "Hello {{user.first}}!", ORDER, "Hello Ada!"),
    Case("a subject is not escaped", "{{shop.name}}: your order", ORDER, "Tea & Co: your order", escape=False),
    Case(
        "the documentation's example",
        "@{{username}} is now following you!",
        {"username": "ada"},
        "@ada is now following you!",
    ),
    Case(
        "its page",
        "Just writing to let you know that <code>@{{username}}</code> ({{name}}) is now following you.",
        {"username": "ada", "name": "Ada <3"},
        "Just writing to let you know that <code>@ada</code> (Ada &lt;3) is now following you.",
    ),
    Case("a link, escaped", '<a href="{{shop.url}}">', ORDER, '<a href="https://tea.example/?a&#x3D;1&amp;b&#x3D;2">'),
    Case("a link, as it is", '<a href="{{{shop.url}}}">', ORDER, '<a href="https://tea.example/?a=1&b=2">'),
    Case(
        "a table",
        "<table>\n{{#each items}}\n  <tr><td>{{name}}</td><td>{{qty}}</td></tr>\n{{/each}}\n</table>\n",
        ORDER,
        "<table>\n  <tr><td>Earl Grey</td><td>2</td></tr>\n  <tr><td>Cup &lt;large&gt;</td><td>1</td></tr>\n</table>\n",
    ),
    Case(
        "a plain list",
        "{{#each items}}\n* {{qty}} {{name}}{{#unless @last}},{{/unless}}\n{{/each}}\nTotal: {{total}}\n",
        ORDER,
        "* 2 Earl Grey,\n* 1 Cup <large>\nTotal: 21\n",
        escape=False,
    ),
    Case("a condition", "{{#if paid}}Thank you{{else}}Please pay {{total}} EUR{{/if}}.", ORDER, "Please pay 21 EUR."),
    Case("an optional paragraph", "a\n{{#if notes}}\n<p>{{notes}}</p>\n{{/if}}\nb", ORDER, "a\nb"),
    Case(
        "a footer", "Hi\n{{> footer}}\n", ORDER, "Hi\n--\nTea & Co\n", {"footer": "--\n{{shop.name}}\n"}, escape=False
    ),
    Case(
        "a layout",
        "{{#> layout title='Order'}}<p>{{user.first}}</p>{{/layout}}",
        ORDER,
        "<html><title>Order</title><p>Ada</p><i>Tea &amp; Co</i></html>",
        {
            "layout": "<html><title>{{title}}</title>{{> @partial-block}}{{> footer}}</html>",
            "footer": "<i>{{shop.name}}</i>",
        },
    ),
    Case(
        "languages",
        "{{#if de}}Hallo{{else if fr}}Bonjour{{else}}Hello{{/if}} {{user.first}}",
        ORDER | {"fr": True},
        "Bonjour Ada",
    ),
    Case(
        "a button in a partial",
        "{{> button text='Pay' url=shop.url}}",
        ORDER,
        '<a href="https://tea.example/?a&#x3D;1&amp;b&#x3D;2">Pay</a>',
        {"button": '<a href="{{url}}">{{text}}</a>'},
    ),
    Case(
        "items and the order's data",
        "{{#each items}}{{name}} for {{../user.first}}; {{/each}}",
        ORDER,
        "Earl Grey for Ada; Cup &lt;large&gt; for Ada; ",
    ),
    Case(
        "style sheets and braces",
        "<style>a {color: red} @media { p{margin:0} }</style>{{user.first}}",
        ORDER,
        "<style>a {color: red} @media { p{margin:0} }</style>Ada",
    ),
    Case(
        "AMP's own braces stay",
        '<template type="amp-mustache">\\{{title}}</template>{{total}}',
        ORDER,
        '<template type="amp-mustache">{{title}}</template>21',
    ),
    Case(
        "a tracking pixel",
        '<img src="https://t.example/p.gif?u={{{user.mail}}}">',
        ORDER,
        '<img src="https://t.example/p.gif?u=ada@example.com">',
    ),
)
