import EagleAutograd
import EagleCore
import EagleModels
import EagleStorage
import EagleTensor

// H hidden size of the head, H_t of the target · n captured layers · V target vocabulary · D draft vocabulary · K
// drafted positions.

/// The sizes and switches of a draft head: all that is known of it without its weights. Checkpoints and ranks exchange
/// it as a `DraftDescription`.
///
/// An architecture consists of a type that conforms to this protocol, its `DraftNetwork` in a folder of this module,
/// and an entry in `DraftArchitecture`. Trainer, decoding, server and plan use these two protocols only.
package protocol DraftShape: Codable, Equatable, Sendable {
  /// Its name in recipes, checkpoints and reports.
  var architecture: String { get }
  /// The switches that a report names after the architecture; empty for none.
  var details: [String] { get }
  /// 0-based target layers whose outputs the head reads.
  var captureLayers: [Int] { get }
  var hiddenSize: Int { get }  // H
  var targetHiddenSize: Int { get }  // H_t
  var vocabularySize: Int { get }  // V
  var draftVocabularySize: Int { get }  // D
  /// Names and shapes of all tensors that are trained, in the order of checkpoints.
  var tensorShapes: [(name: String, shape: [Int])] { get }
  /// Tables that are only read row by row: no matmul reads them.
  var lookUpTables: Set<String> { get }
  /// The trained embedding of its own, if it has one.
  var ownEmbedding: String? { get }
  /// Whether its LM head is the target's: rows for the draft vocabulary, frozen.
  var sharesLMHead: Bool { get }
  /// The matrix that reads the captured states, [·, n H_t]: learning rates of its columns may follow their sizes.
  var featureMatrix: String { get }
  /// The elements of an attention head, which must fit the format of the KV cache.
  var headDimension: Int { get }
  /// The layers of its KV cache.
  func cacheLayers(_ format: CacheFormat) -> [KVCache.LayerShape]
  /// What training costs, by the loss masks of conversations.
  func costs(_ settings: ObjectiveSettings) -> any ObjectiveCosts
  /// The rows that a fitted start uses of this number of trained tokens, and its operations; nil for an architecture
  /// without one.
  func fittedStart(trainedTokens: Double) -> (rows: Double, operations: Double)?
  /// - Throws: `LocatedError` for settings that this head cannot be trained with
  func check(_ settings: ObjectiveSettings) throws
  /// The number of draft passes for a chain of `length` tokens.
  func draftPasses(length: Int) -> Int
  /// The most tokens that a round can draft one after the other; nil for any number.
  var longestDraft: Int? { get }

  // Files.

  /// The folder of a head in a layout. A nil layout selects the first one of the architecture that can represent the
  /// head.
  ///
  /// - Throws: `LocatedError`, naming `path`, for a layout that cannot represent the head
  func folder(_ layout: HeadLayout?, target: TargetShape, verifier: String?, path: String) throws -> HeadFolder
  /// The GGUF file of a head.
  ///
  /// - Throws: `LocatedError`, naming `path`, for what llama.cpp does not compute
  func file(target: TargetShape, type: DraftGGUF.MatrixType, path: String) throws -> HeadFile
  /// `general.architecture` of its files.
  static var ggufArchitecture: String { get }
  /// A folder of this architecture, checked against its target.
  static func reader(folder path: String, target: TargetModel) throws -> any HeadReader
  /// A file of this architecture, checked against its target.
  static func reader(file: GGUFFile, target: TargetModel) throws -> any HeadReader
  /// What a folder is, in one line.
  static func summary(folder path: String) throws -> String
  /// What a file is, in one line.
  static func summary(file: GGUFFile) throws -> String

  /// The computation with these tensors, one for each of `tensorShapes`.
  func network(_ parameters: [DraftModel.Parameter]) -> any DraftNetwork
}

extension DraftShape {
  /// The width of a row of captured states, n H_t.
  package var featureWidth: Int { captureLayers.count * targetHiddenSize }

  /// The matrices between hidden layers: the feature matrix and the projections of the layers. Tables and LM heads,
  /// which have a vocabulary dimension, are not among them.
  package var hiddenMatrices: [(name: String, shape: [Int])] {
    tensorShapes.filter { $0.shape.count == 2 && ($0.name == featureMatrix || $0.name.hasSuffix("_proj.weight")) }
  }

  /// The number of trained weights.
  package var parameterCount: Int { tensorShapes.reduce(0) { $0 + $1.shape.reduce(1, *) } }

  /// The parameters of a trained LM head; 0 without one.
  package var lmHeadParameters: Int { tensorShapes.first { $0.name == "lm_head.weight" }?.shape.reduce(1, *) ?? 0 }

  /// - Throws: `LocatedError` for a length above `longestDraft`
  package func check(draftLength length: Int) throws {
    guard let longest = longestDraft, length > longest else { return }
    throw LocatedError(
      path: "evaluate.draft_length", problem: "\(length) is more than the \(longest) drafts of a block",
      advice: "set it to \(longest) or less, or raise draft.block_size")
  }

  fileprivate func isEqual(to other: any DraftShape) -> Bool { (other as? Self) == self }
}

package func == (a: any DraftShape, b: any DraftShape) -> Bool { a.isEqual(to: b) }

/// What a head computes with its tensors: drafting, and the objective that it is trained with.
package protocol DraftNetwork: AnyObject {
  /// A drafter for one sequence of up to `capacity` positions.
  func makeDrafter(_ draft: DraftModel, target: TargetModel, capacity: Int) -> any Drafter
  /// The objective, as `DraftModel.objective` describes it.
  func makeObjective(
    _ draft: DraftModel, tables: TargetTables, teacher: Teacher, settings: ObjectiveSettings, clock: PhaseClock,
    tick: @escaping () -> Void
  ) -> any Objective
  /// The captured states [R, n H_t] as the feature matrix reads them.
  func features(_ tape: Tape, _ auxHidden: Tensor) -> Variable
  /// The weights of a fitted start over those of `draft`; nil when there is nothing to fit.
  ///
  /// - Parameters:
  ///   - target: the model whose states are fitted
  ///   - leftOut: called with the number of each conversation whose values cannot be fitted
  ///   - conversations: calls its argument with numbered conversations until that returns false
  func fitted(
    _ draft: DraftModel, target: TargetModel, leftOut: @escaping (Int) -> Void,
    conversations: @escaping ((Int, CapturedConversation) -> Bool) throws -> Void
  ) throws -> DraftModel?
}
