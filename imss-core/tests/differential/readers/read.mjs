// What Node's mailparser hands to its user, for each message in a folder.
//
// Usage: node read.mjs FOLDER, where `mailparser` is installed. Prints one line for each content,
// text and name: file TAB reader TAB kind (content, text, name) TAB base64.

import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const { simpleParser } = createRequire(process.cwd() + '/')('mailparser');
const folder = process.argv[2];
const options = { skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true, skipImageLinks: true, keepCidLinks: true };

function show(file, kind, value) {
  if (value && value.length) {
    console.log([file, 'mailparser', kind, Buffer.from(value).toString('base64')].join('\t'));
  }
}

for (const file of fs.readdirSync(folder).sort()) {
  try {
    const message = await simpleParser(fs.readFileSync(path.join(folder, file)), options);
    show(file, 'text', message.text);
    show(file, 'text', message.html || '');
    for (const attachment of message.attachments) {
      show(file, 'name', attachment.filename || '');
      show(file, 'content', attachment.content);
    }
  } catch {
    // A message that it cannot read is one that it does not show.
  }
}
