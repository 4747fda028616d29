/// The shape of a draft's proposals: a tree that grows level by level (EAGLE-2). A chain is a tree of width 1.
public struct DraftPlan: Sendable, Equatable, Codable, CustomStringConvertible {
  /// The number of levels of the tree. Each takes a draft pass, or one pass drafts a block of them.
  public var depth: Int
  /// The number of nodes of a level that are expanded, and of the children that each of them gets.
  public var width: Int
  /// The number of nodes that the target verifies: the most likely ones of all levels.
  public var nodes: Int
  /// The costs of this machine, by which a round ends drafting where another node is not worth its time. Nil drafts the
  /// whole tree.
  public var costs: DecodingCosts?

  /// The most nodes of a plan, and the most cache entries of its draft passes together, which caches reserve.
  public static let maxNodes = 256

  /// Creates the plan of a tree.
  public init(depth: Int, width: Int, nodes: Int, costs: DecodingCosts? = nil) {
    self.depth = depth
    self.width = width
    self.nodes = nodes
    self.costs = costs
  }

  /// A chain of `length` tokens, one draft pass each.
  public static func chain(_ length: Int) -> DraftPlan { DraftPlan(depth: length, width: 1, nodes: length) }

  /// A tree that grows in each round as far as the measured costs justify, and not at all where no draft pays. It is
  /// the default plan without tuning. Its tokens are the target's own samples, so that no measurement changes the
  /// output.
  public static func adaptive(_ costs: DecodingCosts, for draft: DraftModel) -> DraftPlan {
    DraftPlan(depth: min(8, draft.shape.longestDraft ?? 4), width: 3, nodes: 8, costs: costs)
  }

  /// Whether the tree is a chain: its width is 1.
  public var isChain: Bool { width == 1 }

  public var description: String {
    let shape = isChain ? "chain \(depth)" : "tree \(depth)x\(width), \(nodes) nodes"
    return costs == nil ? shape : "\(shape), adaptive"
  }

  /// - Throws: `GenerationError` for a plan that is deeper than what the head drafts in a round
  package func requireFit(_ draft: DraftModel) throws {
    guard let longest = draft.shape.longestDraft, depth > longest else { return }
    throw GenerationError(
      "a draft of \(depth) tokens one after the other is longer than the \(longest) that a block of this head has")
  }

  /// Checks that the tree can be grown.
  ///
  /// - Throws: `GenerationError` for a shape that cannot be grown
  public func validate() throws {
    guard depth >= 0, width >= 1, nodes >= depth, nodes <= Self.maxNodes, width <= Self.maxNodes / max(1, depth)
    else {
      throw GenerationError(
        "a draft of depth \(depth), width \(width) and \(nodes) nodes cannot be grown: depth is 0 or more, width 1 or "
          + "more, nodes from the depth to \(Self.maxNodes), and depth times width not above that")
    }
  }
}
