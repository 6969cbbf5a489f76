# What Perl's MIME::Parser hands to its user, for each message in a folder.
#
# Usage: read.pl FOLDER. Prints one line for each content and name:
# file TAB reader TAB kind (content, name) TAB base64.

use strict;
use warnings;
use MIME::Base64 qw(encode_base64);
use MIME::Parser;

$SIG{__WARN__} = sub { };

sub show {
    my ($file, $kind, $value) = @_;
    utf8::encode($value) if utf8::is_utf8($value);
    print join("\t", $file, 'mime-parser', $kind, encode_base64($value, '')), "\n";
}

sub walk {
    my ($file, $part) = @_;
    my $name = $part->head->recommended_filename;
    show($file, 'name', $name) if defined $name && length $name;
    my $body = $part->bodyhandle;
    if (defined $body) {
        my $content = $body->as_string;
        show($file, 'content', $content) if defined $content && length $content;
    }
    walk($file, $_) for $part->parts;
}

my $folder = $ARGV[0];
opendir(my $listing, $folder) or die "$folder: $!";
for my $file (sort grep { !/^\./ } readdir $listing) {
    open(my $opened, '<:raw', "$folder/$file") or die "$folder/$file: $!";
    my $raw = do { local $/; <$opened> };
    close $opened;
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->extract_uuencode(1);
    # A message that it cannot read is one that it does not show.
    my $message = eval { $parser->parse_data($raw) };
    walk($file, $message) if $message;
}
