//! Plays the Rust of docs/clients.md, which is client.rs here: see pg_test/lib/lines.py.

mod client;

use client::{BoxError, answer, begin_as, notes, pool};
use deadpool_postgres::Pool;
use std::error::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

/// The first column of the rows.
fn values(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let value = |message: &_| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.iter().filter_map(value).collect()
}

async fn perform(pool: &Pool, token: &str, statements: &[&str]) -> Result<Vec<String>, BoxError> {
    if statements.is_empty() {
        return notes(pool, token).await;
    }
    let mut connection = pool.get().await?;
    if token == "-" {
        return Ok(values(&connection.simple_query(statements[0]).await?));
    }
    let user = begin_as(&mut connection, token).await?;
    let mut rows = Vec::new();
    for statement in statements {
        match *statement {
            "!" => return Err("of the application".into()),
            "?" => {
                user.query_typed("SELECT auth.no_such_function($1)", &[(&token, Type::TEXT)])
                    .await?;
            }
            statement => rows = values(&user.simple_query(statement).await?),
        }
    }
    user.commit().await?;
    Ok(rows)
}

fn line(id: &str, outcome: Result<Vec<String>, BoxError>) -> String {
    match outcome {
        Ok(rows) => {
            let rows: String = rows
                .iter()
                .map(|row| format!("\t{}", hex::encode(row)))
                .collect();
            format!("{id}\trows{rows}")
        }
        Err(error) => {
            let (status, log) = answer(error.as_ref());
            let source = error.downcast_ref::<tokio_postgres::Error>();
            let code = source.and_then(|e| e.code()).map_or("", |code| code.code());
            let texts = [
                log,
                code.to_owned(),
                String::new(),
                chain(error.as_ref()),
                format!("{error:?}"),
            ];
            format!(
                "{id}\terror\t{status}\t{}",
                texts.map(hex::encode).join("\t")
            )
        }
    }
}

/// An error's message and those of its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(|error| error.to_string())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::main]
async fn main() {
    let pool = pool().expect("a pool");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(request) = lines.next_line().await.expect("a line") {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut fields = request.split('\t');
            let (id, token) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
            let outcome = perform(&pool, token, &fields.collect::<Vec<_>>()).await;
            println!("{}", line(id, outcome));
        });
    }
}
