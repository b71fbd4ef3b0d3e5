//! Words, numbers, strings and heredocs of HCL 1.

use serde_json::{Number, Value};

use crate::cursor::{Cursor, quote};
use crate::error::Error;

pub(crate) fn starts_word(it: char) -> bool {
    it == '_' || it.is_alphabetic()
}

/// A key without quotes, or a boolean.
pub(crate) fn read_word<'a>(cursor: &mut Cursor<'a>) -> &'a str {
    cursor.take_while(|it| starts_word(it) || it.is_numeric() || matches!(it, '-' | '.'))
}

/// Reads an integer (decimal, `0x…`, octal with a leading `0`) or a floating-point number.
pub(crate) fn read_number(cursor: &mut Cursor<'_>) -> Result<Value, Error> {
    let start = cursor.at();
    let is_negative = cursor.eat("-");
    let is_hexadecimal = cursor.rest().starts_with("0x") || cursor.rest().starts_with("0X");
    let mut last = ' ';
    let digits = cursor.take_while(|it| {
        let is_sign = matches!(it, '+' | '-') && matches!(last, 'e' | 'E') && !is_hexadecimal;
        last = it;
        it.is_alphanumeric() || it == '.' || is_sign
    });
    let is_decimal = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    let wrong =
        |expected: &str| Err(cursor.error_with(start, expected, quote(cursor.since(start))));
    if is_hexadecimal || is_decimal {
        let (digits, radix) = match digits {
            _ if is_hexadecimal => (&digits[2..], 16),
            _ if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
            _ => (digits, 10),
        };
        if digits.is_empty() || !digits.chars().all(|it| it.is_digit(radix)) {
            return wrong(match radix {
                16 => "hexadecimal digits behind `0x`",
                _ => "octal digits behind a leading `0`",
            });
        }
        let signed = if is_negative { format!("-{digits}") } else { digits.to_owned() };
        return match i64::from_str_radix(&signed, radix) {
            Ok(number) => Ok(Value::Number(number.into())),
            Err(_) => wrong("an integer of 64 bits"),
        };
    }
    // A parser of floating-point numbers also takes words such as `inf`.
    let is_float = digits.contains(|it: char| it.is_ascii_digit())
        && digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    match cursor.since(start).parse::<f64>() {
        Ok(number) if is_float => match Number::from_f64(number) {
            Some(number) => Ok(Value::Number(number)),
            None => wrong("a number that 64 bits can hold"),
        },
        _ => wrong("a number (text stands in quotes)"),
    }
}

/// Reads a string in quotes. What is inside `${ … }` stays as it is, with quotes, line ends and backslashes.
///
/// Errors: no end, a wrong escape, bytes of escapes that are not UTF-8 together.
pub(crate) fn read_string(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let start = cursor.at();
    cursor.eat("\"");
    // Bytes, as `\x` and octal escapes make bytes and not characters.
    let mut bytes = Vec::new();
    loop {
        bytes.extend_from_slice(
            cursor.take_while(|it| !matches!(it, '"' | '\\' | '\n' | '$')).as_bytes(),
        );
        match cursor.peek() {
            Some('"') => {
                cursor.bump();
                break;
            }
            Some('\\') => read_escape(cursor, &mut bytes)?,
            Some('$') if cursor.rest().starts_with("${") => {
                bytes.extend_from_slice(read_interpolation(cursor)?.as_bytes());
            }
            Some('$') => {
                cursor.bump();
                bytes.push(b'$');
            }
            _ => {
                let (line, column) = cursor.position(start);
                let expected = format!("`\"` at the end of the string from {line}:{column}");
                return Err(cursor.error(expected));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| {
        let found = quote(cursor.since(start));
        cursor.error_with(start, "escapes that are UTF-8 together", found)
    })
}

/// Goes over `${ … }` with all braces in it, and gives it as it is.
fn read_interpolation<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Error> {
    let start = cursor.at();
    cursor.eat("${");
    let mut open = 1_usize;
    while open > 0 {
        match cursor.bump() {
            Some('{') => open += 1,
            Some('}') => open -= 1,
            Some(_) => {}
            None => {
                let (line, column) = cursor.position(start);
                return Err(cursor.error(format!("`}}` for the `${{` at {line}:{column}")));
            }
        }
    }
    Ok(cursor.since(start))
}

fn read_escape(cursor: &mut Cursor<'_>, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let start = cursor.at();
    cursor.eat("\\");
    let letter = cursor.bump();
    let simple = match letter {
        Some('a') => 0x07,
        Some('b') => 0x08,
        Some('f') => 0x0C,
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('v') => 0x0B,
        Some('\\') => b'\\',
        Some('"') => b'"',
        Some('0'..='7') => {
            cursor.rewind(1);
            match u8::try_from(read_digits(cursor, start, 3, 8)?) {
                Ok(byte) => byte,
                Err(_) => return Err(wrong_escape(cursor, start, "an octal escape up to `\\377`")),
            }
        }
        Some('x') => u8::try_from(read_digits(cursor, start, 2, 16)?).expect("two digits"),
        Some('u' | 'U') => {
            let count = if letter == Some('u') { 4 } else { 8 };
            let Some(it) = char::from_u32(read_digits(cursor, start, count, 16)?) else {
                return Err(wrong_escape(cursor, start, "the number of a character"));
            };
            bytes.extend_from_slice(it.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        _ => {
            let expected = "an escape (`\\n`, `\\r`, `\\t`, `\\\"`, `\\\\`, `\\x..`, `\\u....`)";
            return Err(wrong_escape(cursor, start, expected));
        }
    };
    bytes.push(simple);
    Ok(())
}

/// The number that the next `count` digits make; `count` is at most 8.
fn read_digits(
    cursor: &mut Cursor<'_>,
    start: usize,
    count: usize,
    radix: u32,
) -> Result<u32, Error> {
    let mut left = count;
    let digits = cursor.take_while(|it| {
        let is_part = left > 0 && it.is_digit(radix);
        left = left.saturating_sub(1);
        is_part
    });
    if digits.len() < count {
        let name = if radix == 8 { "octal" } else { "hexadecimal" };
        return Err(wrong_escape(cursor, start, &format!("{count} {name} digits")));
    }
    Ok(u32::from_str_radix(digits, radix).expect("at most 8 digits of this radix"))
}

fn wrong_escape(cursor: &Cursor<'_>, start: usize, expected: &str) -> Error {
    cursor.error_with(start, expected, quote(cursor.since(start)))
}

/// Reads `<<MARK` up to the line with the mark alone, which may be indented. Each line ends with a line feed, also the last.
///
/// `<<-MARK` takes the indentation of the last line from each line, if all of them have it, else from none.
pub(crate) fn read_heredoc(cursor: &mut Cursor<'_>) -> Result<String, Error> {
    let start = cursor.at();
    if !cursor.eat("<<") {
        return Err(cursor.error("`<<` and a mark"));
    }
    let is_indented = cursor.eat("-");
    let mark = cursor.take_while(|it| starts_word(it) || it.is_numeric());
    if mark.is_empty() {
        return Err(cursor.error("the mark that ends the text"));
    }
    if !cursor.eat("\r\n") && !cursor.eat("\n") {
        return Err(cursor.error("the end of the line behind the mark"));
    }
    let mut lines = Vec::new();
    let indentation = loop {
        let Some(line) = cursor.take_line() else {
            let (line, column) = cursor.position(start);
            let expected = format!("a line with {} for the text from {line}:{column}", quote(mark));
            return Err(cursor.error(expected));
        };
        let bare = line.trim_start_matches([' ', '\t']);
        if bare == mark {
            break &line[..line.len() - bare.len()];
        }
        lines.push(line);
    };
    let mut text = String::new();
    let takes = is_indented && lines.iter().all(|it| it.starts_with(indentation));
    for line in lines {
        text.push_str(if takes { &line[indentation.len()..] } else { line });
        text.push('\n');
    }
    if !is_indented {
        // HCL 1 keeps what stands before the mark.
        text.push_str(indentation);
    }
    Ok(text)
}
