//! A tree of a template and values to text.

use std::collections::BTreeMap;

use serde_json::Value;
use trust_image::Digest;

use super::parse::{Expr, Node, template};

/// Templates by their names.
pub(super) struct Renderer {
    files: BTreeMap<String, Vec<Node>>,
    defines: BTreeMap<String, Vec<Node>>,
}

struct Scope {
    root: Value,
    dot: Value,
    variables: Vec<(String, Value)>,
}

impl Renderer {
    pub(super) fn new(templates: &BTreeMap<String, String>) -> Result<Self, String> {
        let (mut files, mut defines) = (BTreeMap::new(), BTreeMap::new());
        for (name, text) in templates {
            let (body, defined) = template(text).map_err(|error| format!("{name}: {error}"))?;
            files.insert(name.clone(), body);
            for (define, body) in defined {
                if defines.insert(define.clone(), body).is_some() {
                    return Err(format!("{name}: {define:?} is defined twice"));
                }
            }
        }
        Ok(Self { files, defines })
    }

    pub(super) fn file(&self, name: &str, root: &Value) -> Result<String, String> {
        let body = self.files.get(name).ok_or("no such template")?;
        self.body(body, root)
    }

    fn body(&self, body: &[Node], dot: &Value) -> Result<String, String> {
        let mut scope = Scope { root: dot.clone(), dot: dot.clone(), variables: Vec::new() };
        let mut out = String::new();
        self.nodes(body, &mut scope, &mut out)?;
        Ok(out)
    }

    fn nodes(&self, nodes: &[Node], scope: &mut Scope, out: &mut String) -> Result<(), String> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Print(expr) => {
                    let value = self.value(expr, scope)?;
                    out.push_str(&text(&value).map_err(|error| format!("{expr:?}: {error}"))?);
                }
                Node::If(branches, last) => {
                    let mut taken = last;
                    for (condition, body) in branches {
                        if truth(&self.value(condition, scope)?) {
                            taken = body;
                            break;
                        }
                    }
                    self.nodes(taken, scope, out)?;
                }
                Node::Range { names, over, body } => self.range(names, &self.value(over, scope)?, body, scope, out)?,
            }
        }
        Ok(())
    }

    fn range(
        &self,
        names: &[String],
        over: &Value,
        body: &[Node],
        scope: &mut Scope,
        out: &mut String,
    ) -> Result<(), String> {
        let items: Vec<(Value, Value)> = match over {
            Value::Null => Vec::new(),
            Value::Array(items) => items.iter().enumerate().map(|(i, item)| (i.into(), item.clone())).collect(),
            // In the order of the names, as Go has it; this is how this map is kept.
            Value::Object(map) => {
                let sorted: BTreeMap<&String, &Value> = map.iter().collect();
                sorted.into_iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect()
            }
            other => return Err(format!("a range over {other}")),
        };
        for (key, item) in items {
            let before = scope.variables.len();
            if let [first, second] = names {
                scope.variables.push((first.clone(), key));
                scope.variables.push((second.clone(), item.clone()));
            }
            let outer = std::mem::replace(&mut scope.dot, item);
            self.nodes(body, scope, out)?;
            scope.dot = outer;
            scope.variables.truncate(before);
        }
        Ok(())
    }

    fn value(&self, expr: &Expr, scope: &Scope) -> Result<Value, String> {
        match expr {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Path(variable, members) => {
                let start = match variable.as_str() {
                    "" => &scope.dot,
                    "$" => &scope.root,
                    name => {
                        let found = scope.variables.iter().rev().find(|(known, _)| known == name);
                        &found.ok_or_else(|| format!("{name} is not known"))?.1
                    }
                };
                let mut value = start;
                for member in members {
                    value = match value {
                        Value::Object(map) => map.get(member).unwrap_or(&Value::Null),
                        other => return Err(format!("{member} of {other}")),
                    };
                }
                Ok(value.clone())
            }
            Expr::Call(name, arguments) => {
                let arguments: Vec<Value> =
                    arguments.iter().map(|argument| self.value(argument, scope)).collect::<Result<_, _>>()?;
                self.call(name, &arguments)
            }
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let unknown = || Err(format!("{name} with {arguments:?} is not known"));
        Ok(match (name, arguments) {
            ("include", [Value::String(define), dot]) => {
                let body = self.defines.get(define).ok_or_else(|| format!("{define:?} is not defined"))?;
                self.body(body, dot)?.into()
            }
            ("quote", [value]) => quoted(&text(value)?)?.into(),
            // Of maps the order, and of these characters the spelling, are another one in Go.
            ("toJson", [value @ Value::Array(items)])
                if items.iter().all(Value::is_string) && !value.to_string().contains(['<', '>', '&', '\\']) =>
            {
                value.to_string().into()
            }
            ("toYaml", [value]) => {
                let mut lines = Vec::new();
                to_yaml(value, 0, &mut lines)?;
                lines.join("\n").into()
            }
            ("nindent", [Value::Number(width), Value::String(text)]) => {
                let width = usize::try_from(width.as_u64().unwrap_or_default()).map_err(|e| e.to_string())?;
                let pad = " ".repeat(width);
                let lines: Vec<String> = text.split('\n').map(|line| format!("{pad}{line}")).collect();
                format!("\n{}", lines.join("\n")).into()
            }
            ("required", [Value::String(why), value]) => match value {
                Value::Null => return Err(why.clone()),
                Value::String(text) if text.is_empty() => return Err(why.clone()),
                value => value.clone(),
            },
            ("not", [value]) => (!truth(value)).into(),
            ("eq", [a, b]) if same_kind(a, b) => (a == b).into(),
            ("ne", [a, b]) if same_kind(a, b) => (a != b).into(),
            ("and", [first, rest @ ..]) => {
                rest.iter().fold(first, |all, next| if truth(all) { next } else { all }).clone()
            }
            ("or", [first, rest @ ..]) => {
                rest.iter().fold(first, |any, next| if truth(any) { any } else { next }).clone()
            }
            ("sha256sum", [Value::String(text)]) => Digest::of(text.as_bytes()).hex().to_string().into(),
            _ => return unknown(),
        })
    }
}

/// Go compares what is of one kind.
fn same_kind(a: &Value, b: &Value) -> bool {
    matches!((a, b), (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)))
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_u64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(format!("{other} cannot be printed")),
    }
}

/// As Go's `%q` writes a text of ASCII; of other letters, which it writes as they are, only those of Latin.
fn quoted(text: &str) -> Result<String, String> {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' | '\u{c0}'..='\u{17f}' => quoted.push(c),
            other => return Err(format!("{other:?} in a quoted text is not known")),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

fn to_yaml(value: &Value, depth: usize, lines: &mut Vec<String>) -> Result<(), String> {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (name, inner) in map.iter().collect::<BTreeMap<_, _>>() {
                let name = scalar(&Value::String(name.clone()))?;
                match inner {
                    Value::Object(inner_map) if !inner_map.is_empty() => {
                        lines.push(format!("{pad}{name}:"));
                        to_yaml(inner, depth + 1, lines)?;
                    }
                    // Lists stand as far left as their name.
                    Value::Array(items) if !items.is_empty() => {
                        lines.push(format!("{pad}{name}:"));
                        to_yaml(inner, depth, lines)?;
                    }
                    inner => lines.push(format!("{pad}{name}: {}", scalar(inner)?)),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let start = lines.len();
                match item {
                    Value::Object(map) if !map.is_empty() => to_yaml(item, depth + 1, lines)?,
                    item => lines.push(format!("{pad}  {}", scalar(item)?)),
                }
                let first = lines.get_mut(start).ok_or("an item without a line")?;
                let rest = first.split_off(pad.len() + 2);
                *first = format!("{pad}- {rest}");
            }
        }
        other => lines.push(format!("{pad}{}", scalar(other)?)),
    }
    Ok(())
}

/// A text without quotes where nobody could take it for something else; what is not surely one or the other is refused.
fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::Number(_) | Value::Bool(_) | Value::Null => Ok(value.to_string()),
        Value::Array(items) if items.is_empty() => Ok("[]".to_owned()),
        Value::Object(members) if members.is_empty() => Ok("{}".to_owned()),
        Value::String(text) if text.is_empty() => Ok("\"\"".to_owned()),
        Value::String(text) => {
            let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
            let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./-_".contains(&b))
                && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
                && !words.contains(&text.to_ascii_lowercase().as_str());
            // Numbers, dates, and what has the look of one; an address or a quantity has not.
            let is_number_like = text.bytes().filter(|b| b"_-".contains(b)).count() > 0
                && text.starts_with(|c: char| c.is_ascii_digit())
                || text.parse::<f64>().is_ok()
                || text.starts_with("0x")
                || text.starts_with("0b")
                || text.starts_with("0o");
            match is_plain && !is_number_like {
                true => Ok(text.clone()),
                false => Err(format!("{text:?} is not surely a plain text")),
            }
        }
        other => Err(format!("{other} is no scalar")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(text: &str, values: &Value) -> Result<String, String> {
        let files = BTreeMap::from([("t".to_owned(), text.to_owned())]);
        Renderer::new(&files)?.file("t", values)
    }

    #[test]
    fn what_the_chart_uses_is_rendered_as_go_does() {
        let values = json!({"a": {"b": "x"}, "words": ["a", "b[*].c"], "list": [1, 2], "map": {"z": 1, "b": "t"}, "no": false, "text": "q\"\\\n"});
        for (text, wanted) in [
            ("{{ .a.b }} {{- /* c */ -}}  y", "xy"),
            ("a\n{{- if .no }}\nb\n{{- else if .a }}\nc\n{{- end }}\nd", "a\nc\nd"),
            ("{{ range .list }}<{{ . }}>{{ end }}", "<1><2>"),
            ("{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "b=t;z=1;"),
            ("{{ range .list }}{{ $.a.b }}{{ end }}", "xx"),
            ("{{ .text | quote }}", "\"q\\\"\\\\\\n\""),
            ("{{ define \"d\" }}l: {{ .b }}\nm: 1{{ end }}d:{{ include \"d\" .a | nindent 2 }}", "d:\n  l: x\n  m: 1"),
            ("{{ toYaml .map | nindent 1 }}", "\n b: t\n z: 1"),
            ("{{ if not .no }}y{{ end }}{{ if and .a .no }}n{{ end }}{{ if or .no .a }}o{{ end }}", "yo"),
            ("{{ if ne .a.b \"off\" }}y{{ end }}", "y"),
            ("{{ .words | toJson }}", "[\"a\",\"b[*].c\"]"),
            ("{{ \"x\" | sha256sum }}", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ] {
            assert_eq!(rendered(text, &values).as_deref(), Ok(wanted), "{text}");
        }
        let nested = json!({"v": {"l": [{"a": 1, "b": {"c": "d"}}, "x"], "e": [], "m": {}}});
        let wanted = "e: []\nl:\n- a: 1\n  b:\n    c: d\n- x\nm: {}";
        assert_eq!(rendered("{{ toYaml .v }}", &nested).as_deref(), Ok(wanted));
    }

    #[test]
    fn what_is_not_known_is_refused_and_never_guessed() {
        let values =
            json!({"a": {"b": "x"}, "n": 1, "date": {"x": "2020-01-01"}, "octal": {"x": "010"}, "on": {"x": "on"}});
        for text in [
            "{{ .a.b | upper }}",
            "{{ with .a }}x{{ end }}",
            "{{ template \"x\" . }}",
            "{{ .missing }}",
            "{{ .missing.more }}",
            "{{ .a }}",
            "{{ .n.b }}",
            "{{ if .a }}",
            "{{ end }}",
            "{{ range .a }}{{ else }}{{ end }}",
            "{{ eq .n .a.b }}",
            "{{ include \"none\" . }}",
            "{{ lookup \"v1\" }}",
            "{{ $x := 1 }}",
            "{{ .a.b",
            "{{ toYaml .date }}",
            "{{ toYaml .octal }}",
            "{{ toYaml .on }}",
            "{{ .a | toJson }}",
            "{{ required \"say it\" .missing }}",
            "{{ 'x' }}",
            "{{ \"\u{1}\" | quote }}",
        ] {
            assert!(rendered(text, &values).is_err(), "{text}: {:?}", rendered(text, &values));
        }
    }
}
