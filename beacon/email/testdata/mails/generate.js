// Writes the corpus of HTML mails and messages, with the generators named in each file's name.
const mjml2html = require('mjml'), Mailgen = require('mailgen'), MailComposer = require('nodemailer/lib/mail-composer')
const fs = require('fs'), path = require('path')
const out = process.argv[2]
const write = (name, text) => fs.writeFileSync(path.join(out, name), text)
const newsletter = `<mjml><mj-head><mj-title>November</mj-title><mj-preview>What is new</mj-preview>
<mj-attributes><mj-all font-family="Arial"/></mj-attributes><mj-style>a:hover{color:red} .x:after{content:"https://css.example/"}</mj-style></mj-head><mj-body>
<mj-hero mode="fluid-height" background-url="https://img.example/hero.jpg" background-width="600px" background-height="300px"><mj-text>Hi {{name}}</mj-text><mj-button href="https://example.org/hero?a=1&amp;b=2#top">See</mj-button></mj-hero>
<mj-section><mj-column><mj-image src="https://img.example/1.png" href="https://example.org/bild?ü=ö" alt="Bücher"/><mj-text><p>Read <a href="https://example.org/">this</a>, or <a href='http://example.net/a b'>that</a>; write to <a href="mailto:us@example.org">us</a>, or <a href="#top">up</a>.</p></mj-text></mj-column>
<mj-column><mj-button href="https://example.org/shop?x=*|EMAIL|*">Personal</mj-button><mj-button href="{{link}}">Field</mj-button></mj-column></mj-section>
<mj-section><mj-column><mj-social><mj-social-element name="facebook" href="https://example.org/share"/><mj-social-element name="x" href="https://example.org/x"/></mj-social>
<mj-navbar hamburger="hamburger"><mj-navbar-link href="https://example.org/one">One</mj-navbar-link><mj-navbar-link href="https://example.org/two">Two</mj-navbar-link></mj-navbar></mj-column></mj-section>
<mj-section><mj-column><mj-carousel><mj-carousel-image src="https://img.example/c1.png" href="https://example.org/c1"/><mj-carousel-image src="https://img.example/c2.png"/></mj-carousel>
<mj-accordion><mj-accordion-element><mj-accordion-title>Why</mj-accordion-title><mj-accordion-text><a href="https://example.org/why">because</a></mj-accordion-text></mj-accordion-element></mj-accordion>
<mj-text><a href="https://lists.example/u/1">Unsubscribe</a> <a href="https://lists.example/abmelden?id=%%recipient%%">Abmelden</a> <a href="{{unsubscribe}}">here</a> <a data-ff-skip href="https://example.org/private">private</a></mj-text></mj-column></mj-section></mj-body></mjml>`
write('mjml-newsletter.html', mjml2html(newsletter, {validationLevel: 'soft'}).html)
write('mjml-minified.html', mjml2html(newsletter, {validationLevel: 'soft', minify: true}).html)
const body = {body: {name: 'Ada', intro: 'Welcome.', action: {instructions: 'To begin:', button: {color: '#22BC66', text: 'Confirm', link: 'https://example.org/confirm?s=d9729feb74992cc3482b350163a1a010'}},
  table: {data: [{item: 'Book', description: 'A <a href="https://example.org/book">book</a>', price: '$10.99'}]}, outro: 'Need <a href="https://example.org/help">help</a>?'}}
for (const theme of ['default', 'cerberus', 'salted', 'neopolitan'])
  write(`mailgen-${theme}.html`, new Mailgen({theme, product: {name: 'Example', link: 'https://example.org/'}}).generate(body))
const html = fs.readFileSync(path.join(out, 'mjml-newsletter.html'), 'utf8')
const mail = (name, o) => new Promise((ok, bad) => new MailComposer({from: 'Ä <a@example.org>', to: 'b@example.org', subject: 'November ü', date: new Date(0), messageId: '<1@example.org>',
  baseBoundary: 'fixed', headers: {'List-Unsubscribe': '<mailto:out@lists.example>, <https://lists.example/one-click?u=1>'},
  text: 'See https://example.org/ .', html: html.replace('</body>', '<a href="https://lists.example/one-click?u=1">x</a></body>'), ...o})
  .compile().build((e, b) => e ? bad(e) : (write(name, b), ok())))
;(async () => {
  await mail('nodemailer-quoted.eml', {encoding: 'quoted-printable'})
  await mail('nodemailer-base64.eml', {encoding: 'base64'})
  await mail('nodemailer-related.eml', {attachments: [{filename: 'a.html', content: html}, {filename: 'i.png', content: Buffer.from('89504e47', 'hex'), cid: 'i'}]})
  await mail('nodemailer-only.eml', {text: undefined, newline: '\n'})
})()
