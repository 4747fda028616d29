import EagleCore
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An HTTP server on a free port of this machine with scripted responses, which records the requests.
package final class ScriptedServer: Sendable {
  package struct Request: Sendable {
    /// Its number, from 0.
    package let number: Int
    package let method: String
    package let path: String
    /// By name in lower case.
    package let headers: [String: String]
    /// Null if the body is not JSON.
    package let body: JSON

    /// The content of the last message.
    package var lastContent: String? { body.object?["messages"]?.array?.last?.object?["content"]?.string }
  }

  package enum Reply: Sendable {
    case response(status: Int, headers: [String: String] = [:], body: String)
    /// A file of which some bytes are sent, all by default, before the connection is closed.
    case file(status: Int = 200, headers: [String: String] = [:], [UInt8], cutAt: Int? = nil)
    /// Closes the connection without a response.
    case hangUp
    /// No response until the server stops.
    case silence
  }

  private let channel: any Channel
  private let log: Log

  /// - Parameter reply: called on a thread of the server, for one request at a time
  package init(_ reply: @escaping @Sendable (Request) -> Reply) throws {
    let log = Log(reply)
    self.log = log
    channel = try ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
          try channel.pipeline.syncOperations.addHandler(Handler(log))
        }
      }
      .bind(host: "127.0.0.1", port: 0).wait()
  }

  deinit { channel.close(promise: nil) }

  package var url: String { "http://127.0.0.1:\(channel.localAddress?.port ?? 0)" }

  /// The requests so far, in order.
  package var requests: [Request] { log.requests }

  /// A port on which nothing listens.
  package static func unusedURL() throws -> String {
    let server = try ScriptedServer { _ in .hangUp }
    let url = server.url
    try server.channel.close().wait()
    return url
  }

  /// Requests are numbered and answered under one lock.
  private final class Log: Sendable {
    private let seen = Mutex<[Request]>([])
    private let reply: @Sendable (Request) -> Reply

    init(_ reply: @escaping @Sendable (Request) -> Reply) { self.reply = reply }

    var requests: [Request] { seen.withLock { $0 } }

    func answer(_ head: HTTPRequestHead, _ body: [UInt8]) -> Reply {
      seen.withLock { seen in
        let request = Request(
          number: seen.count, method: head.method.rawValue, path: head.uri,
          headers: Dictionary(head.headers.map { ($0.name.lowercased(), $0.value) }) { first, _ in first },
          body: (try? JSON.read(body)) ?? .null)
        seen.append(request)
        return reply(request)
      }
    }
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let log: Log
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(_ log: Log) { self.log = log }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head): (self.head, body) = (head, [])
      case .body(let bytes): body += bytes.readableBytesView
      case .end: if let head { write(log.answer(head, body), context) }
      }
    }

    private func write(_ reply: Reply, _ context: ChannelHandlerContext) {
      switch reply {
      case .silence: break
      case .hangUp: context.close(promise: nil)
      case .response(let status, let headers, let body):
        write(status, headers, Array(body.utf8), cutAt: nil, context)
      case .file(let status, let headers, let bytes, let cut): write(status, headers, bytes, cutAt: cut, context)
      }
    }

    private func write(
      _ status: Int, _ headers: [String: String], _ body: [UInt8], cutAt cut: Int?, _ context: ChannelHandlerContext
    ) {
      var fields = HTTPHeaders([("Content-Length", "\(body.count)")])
      for (name, value) in headers { fields.add(name: name, value: value) }
      let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: fields)
      context.write(wrapOutboundOut(.head(head)), promise: nil)
      let bytes = ByteBuffer(bytes: body.prefix(cut ?? body.count))
      guard cut == nil else {
        let channel = context.channel
        return context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(bytes)))).whenComplete { _ in
          channel.close(promise: nil)
        }
      }
      context.write(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
  }
}

extension ScriptedServer.Reply {
  package static func ok(_ body: JSON) -> Self { .response(status: 200, body: body.text()) }

  /// An error response in OpenAI's format.
  package static func error(_ status: Int, _ message: String, headers: [String: String] = [:]) -> Self {
    let body: JSON = ["error": ["message": .string(message), "type": "error"]]
    return .response(status: status, headers: headers, body: body.text())
  }

  package static func models(_ names: String...) -> Self {
    .ok(["object": "list", "data": .array(names.map { ["id": .string($0), "object": "model"] })])
  }

  /// The response of `/v1/chat/completions` with a message.
  package static func message(_ message: JSON, finish: String = "stop", tokens: Int = 3) -> Self {
    .ok([
      "choices": [["index": 0, "message": message, "finish_reason": .string(finish)]],
      "usage": ["completion_tokens": JSON(tokens)],
    ])
  }

  package static func text(_ text: String, finish: String = "stop") -> Self {
    message(["role": "assistant", "content": .string(text)], finish: finish)
  }

  /// The response of `/v1/completions`.
  package static func completion(_ text: String, finish: String = "stop") -> Self {
    .ok(["choices": [["index": 0, "text": .string(text), "finish_reason": .string(finish)]]])
  }
}
