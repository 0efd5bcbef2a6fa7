//! Text of a template to a tree of it.

use std::collections::BTreeMap;

use serde_json::Value;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Expr),
    If(Vec<(Expr, Vec<Node>)>, Vec<Node>),
    Range { names: Vec<String>, over: Expr, body: Vec<Node> },
}

/// An expression.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    Literal(Value),
    /// The variable (`""` for the dot, `"$"` for the root), and members of it.
    Path(String, Vec<String>),
    Call(String, Vec<Expr>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Path(String, Vec<String>),
    Literal(Value),
    Open,
    Close,
    Bar,
    Comma,
    Assign,
}

/// The body of a template, and the bodies that it defines.
pub(super) type Template = (Vec<Node>, BTreeMap<String, Vec<Node>>);

/// Reads a template.
pub(super) fn template(text: &str) -> Result<Template, String> {
    let mut pieces = pieces(text)?;
    pieces.reverse();
    let mut defines = BTreeMap::new();
    let (body, end) = nodes(&mut pieces, &mut defines)?;
    match end {
        End::Text => Ok((body, defines)),
        other => Err(format!("{other:?} without a beginning")),
    }
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// Cuts text and actions, and takes the white space away that `{{-` and `-}}` take.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let (before, behind) = match rest.split_once("{{") {
            None => (rest, None),
            Some((before, behind)) => (before, Some(behind)),
        };
        let before = if trim_next { before.trim_start() } else { before };
        let Some(mut behind) = behind else {
            found.push(Piece::Text(before.to_owned()));
            return Ok(found);
        };
        let mut before = before;
        if let Some(inner) = behind.strip_prefix("- ") {
            before = before.trim_end();
            behind = inner;
        }
        found.push(Piece::Text(before.to_owned()));
        let (inside, after) = behind.split_once("}}").ok_or("an action without an end")?;
        let (inside, trims) = match inside.strip_suffix(" -") {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        trim_next = trims;
        rest = after;
        let inside = inside.trim();
        if let Some(comment) = inside.strip_prefix("/*") {
            if !comment.ends_with("*/") {
                return Err(format!("a comment without an end: {inside}"));
            }
            continue;
        }
        found.push(Piece::Action(tokens(inside)?));
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while at < chars.len() {
        let c = chars[at];
        match c {
            ' ' | '\n' => at += 1,
            '(' | ')' | '|' | ',' => {
                tokens.push(match c {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    '|' => Token::Bar,
                    _ => Token::Comma,
                });
                at += 1;
            }
            ':' if chars.get(at + 1) == Some(&'=') => {
                tokens.push(Token::Assign);
                at += 2;
            }
            '"' => {
                let mut end = at + 1;
                while chars.get(end).is_some_and(|c| *c != '"') {
                    end += if chars[end] == '\\' { 2 } else { 1 };
                }
                let quoted: String = chars.get(at..=end).ok_or("a text without an end")?.iter().collect();
                // What both languages write alike.
                tokens.push(Token::Literal(serde_json::from_str(&quoted).map_err(|e| format!("{quoted}: {e}"))?));
                at = end + 1;
            }
            '.' | '$' => {
                let mut variable = String::new();
                if c == '$' {
                    variable.push('$');
                    at += 1;
                    while chars.get(at).is_some_and(|c| is_word(*c)) {
                        variable.push(chars[at]);
                        at += 1;
                    }
                }
                let mut members = Vec::new();
                while chars.get(at) == Some(&'.') {
                    at += 1;
                    let start = at;
                    while chars.get(at).is_some_and(|c| is_word(*c)) {
                        at += 1;
                    }
                    if start < at {
                        members.push(chars[start..at].iter().collect());
                    }
                }
                tokens.push(Token::Path(variable, members));
            }
            _ if is_word(c) => {
                let start = at;
                while chars.get(at).is_some_and(|c| is_word(*c)) {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                tokens.push(match word.parse::<u64>() {
                    Ok(number) => Token::Literal(number.into()),
                    Err(_) if word == "true" || word == "false" => Token::Literal((word == "true").into()),
                    Err(_) => Token::Word(word),
                });
            }
            other => return Err(format!("{other:?} in {{{{ {text} }}}} is not known")),
        }
    }
    Ok(tokens)
}

/// What ended a list of nodes.
#[derive(Debug)]
enum End {
    Text,
    Closed,
    Else(Vec<Token>),
}

fn nodes(pieces: &mut Vec<Piece>, defines: &mut BTreeMap<String, Vec<Node>>) -> Result<(Vec<Node>, End), String> {
    let mut all = Vec::new();
    while let Some(piece) = pieces.pop() {
        let tokens = match piece {
            Piece::Text(text) => {
                all.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        match tokens.split_first() {
            Some((Token::Word(word), [])) if word == "end" => return Ok((all, End::Closed)),
            Some((Token::Word(word), rest)) if word == "else" => return Ok((all, End::Else(rest.to_vec()))),
            Some((Token::Word(word), rest)) if word == "if" => all.push(conditional(rest, pieces, defines)?),
            Some((Token::Word(word), rest)) if word == "range" => {
                let (names, over) = match rest {
                    [Token::Path(key, none), Token::Comma, Token::Path(value, nothing), Token::Assign, over @ ..]
                        if none.is_empty() && nothing.is_empty() =>
                    {
                        (vec![key.clone(), value.clone()], over)
                    }
                    over => (Vec::new(), over),
                };
                let over = expression(over)?;
                let (body, end) = nodes(pieces, defines)?;
                if !matches!(end, End::Closed) {
                    return Err("a range with another end than `end` is not known".to_owned());
                }
                all.push(Node::Range { names, over, body });
            }
            Some((Token::Word(word), [Token::Literal(Value::String(name))])) if word == "define" => {
                let (body, end) = nodes(pieces, defines)?;
                if !matches!(end, End::Closed) || defines.insert(name.clone(), body).is_some() {
                    return Err(format!("define {name:?} does not end, or is there twice"));
                }
            }
            Some((Token::Word(word), _))
                if ["with", "block", "template", "break", "continue"].contains(&word.as_str()) =>
            {
                return Err(format!("{word} is not known"));
            }
            _ => all.push(Node::Print(expression(&tokens)?)),
        }
    }
    Ok((all, End::Text))
}

fn conditional(
    condition: &[Token],
    pieces: &mut Vec<Piece>,
    defines: &mut BTreeMap<String, Vec<Node>>,
) -> Result<Node, String> {
    let mut branches = Vec::new();
    let mut condition = expression(condition)?;
    loop {
        let (body, end) = nodes(pieces, defines)?;
        branches.push((condition, body));
        match end {
            End::Closed => return Ok(Node::If(branches, Vec::new())),
            End::Text => return Err("an if without an end".to_owned()),
            End::Else(rest) => match rest.split_first() {
                None => {
                    let (last, end) = nodes(pieces, defines)?;
                    return match end {
                        End::Closed => Ok(Node::If(branches, last)),
                        _ => Err("an else without an end".to_owned()),
                    };
                }
                Some((Token::Word(word), rest)) if word == "if" => condition = expression(rest)?,
                Some(other) => return Err(format!("else {other:?} is not known")),
            },
        }
    }
}

/// A pipeline: what stands before a bar is the last argument of what stands behind it.
fn expression(tokens: &[Token]) -> Result<Expr, String> {
    let mut depth = 0_i32;
    let mut parts = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth -= 1,
            Token::Bar if depth == 0 => {
                parts.push(Vec::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().ok_or("nothing")?.push(token.clone());
    }
    if depth != 0 {
        return Err("parentheses do not fit".to_owned());
    }
    let mut value = None;
    for part in &parts {
        let next = command(part)?;
        value = Some(match (value, next) {
            (None, next) => next,
            (Some(before), Expr::Call(name, mut arguments)) => {
                arguments.push(before);
                Expr::Call(name, arguments)
            }
            (Some(_), _) => return Err("a bar before what is no function".to_owned()),
        });
    }
    value.ok_or_else(|| "an empty action".to_owned())
}

fn command(tokens: &[Token]) -> Result<Expr, String> {
    match tokens.split_first() {
        Some((Token::Word(name), rest)) => Ok(Expr::Call(name.clone(), operands(rest)?)),
        _ => match operands(tokens)?.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(format!("not one value: {tokens:?}")),
        },
    }
}

fn operands(tokens: &[Token]) -> Result<Vec<Expr>, String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        found.push(match token {
            Token::Literal(value) => Expr::Literal(value.clone()),
            Token::Path(variable, members) => Expr::Path(variable.clone(), members.clone()),
            Token::Open => {
                let start = at;
                let mut depth = 1;
                while depth > 0 {
                    match tokens.get(at) {
                        Some(Token::Open) => depth += 1,
                        Some(Token::Close) => depth -= 1,
                        Some(_) => {}
                        None => return Err("parentheses do not fit".to_owned()),
                    }
                    at += 1;
                }
                expression(&tokens[start..at - 1])?
            }
            other => return Err(format!("{other:?} as a value is not known")),
        });
    }
    Ok(found)
}
