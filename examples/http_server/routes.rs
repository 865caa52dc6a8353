//! The routes of the server.

use crate::body::Body;
use crate::connection::Failure;
use crate::request::Head;
use crate::response::Response;
use crate::service::Service;
use cede::time::sleep;
use std::time::Duration;

const INDEX: &str = "\
GET  /          this text
POST /echo      the body of the request
GET  /slow?MS   a response after MS milliseconds, at most 10000
GET  /stats     the number of responses
";

/// The response to a request.
pub(crate) fn respond(head: &Head, body: &mut Body<'_, '_>, service: &Service) -> Result<Response, Failure> {
    let is_get = ["GET", "HEAD"].contains(&&*head.method);
    match &*head.path {
        "/" if is_get => Ok(Response::text(200, INDEX)),
        "/echo" if head.method == "POST" => {
            let body = body.read()?;
            Ok(Response { status: 200, content_type: "application/octet-stream", body, allow: None })
        }
        "/slow" if is_get => {
            let millis = head.query.parse().unwrap_or(100).min(10_000);
            Ok(match sleep(Duration::from_millis(millis)) {
                Ok(()) => Response::text(200, format!("after {millis} ms\n")),
                Err(_) => Response::text(503, "the server stops\n"),
            })
        }
        "/stats" if is_get => Ok(Response::text(200, service.stats())),
        "/" | "/slow" | "/stats" => Ok(not_allowed("GET, HEAD")),
        "/echo" => Ok(not_allowed("POST")),
        _ => Ok(Response::text(404, "there is no such path; GET / lists them\n")),
    }
}

fn not_allowed(allow: &'static str) -> Response {
    Response { allow: Some(allow), ..Response::text(405, format!("this path has the methods {allow}\n")) }
}
