/**
 * Rules for instructions that try to take a model over. RE2 on folded text; `\w` is ASCII there, and gaps are
 * counted in words and kept small, so that the automaton stays small too. A rule matches how an instruction is
 * given, not what it is about: texts that discuss attacks use the same nouns in other moods.
 */
export type Family =
  | "override"
  | "spoof"
  | "persona"
  | "extraction"
  | "exfiltration"
  | "address" // speaks to the machine
  | "secrecy" // keeps its user out
  | "steering" // gives it work
  | "suffix"; // words that no person types

/**
 * Where a rule speaks. `direct`: whoever writes the text attacks the model; said anywhere it is the same attack.
 * `embedded`: only text that is data gives itself away by it. `turns`: forged turns, in anybody's mouth.
 */
export type Scope = "direct" | "embedded" | "turns";

export type Rule = {
  readonly id: string;
  readonly family: Family;
  readonly scope: Scope;
  readonly pattern: string;
  /** What the rule alone is worth, from 0 to 10,000. */
  readonly weight: number;
};

const W = "(?:[\\w'’-]+[\\s,]+)"; // a word and what follows it
const P = "(?:[\\pL'’-]+\\s+)"; // the same in any script
/** Where an order begins: other languages have the same word for "forget!" and "he forgets". */
const START =
  "(?:^|[.!?:;,\"'»>*#\\n-]\\s*)(?:por favor,?\\s+|per favore,?\\s+|s'il (?:te|vous) plaît,?\\s+)?";
const DROP = "(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|neglect|discard|overlook)";
const PRIOR =
  "(?:previous|previously|prior|preceding|earlier|above|foregoing|former|initial|original|existing|past|current|system|safety|developer)";
const ORDERS =
  "(?:instructions?|directions?|directives?|prompts?|rules|guidelines|commands|orders|constraints|restrictions|guardrails|programming|polic(?:y|ies)|safeguards|training)";
const MACHINE =
  "(?:ai|a\\.i\\.|llm|assistant|language model|ai (?:agent|model|assistant|system)|chatbot|chatgpt|gpt(?:-?\\d)?|claude|gemini|copilot)";
const OWN_TEXT =
  "(?:system (?:prompt|message|instructions?)|(?:initial|original|hidden|secret|internal|developer|pre-?) ?(?:prompt|instructions?|message|guidelines|rules|directives))";
const OF_IT =
  "(?:me\\s+|us\\s+|back\\s+|out\\s+|verbatim\\s+)?(?:(?:all|the|exact|full|entire|complete|contents?|text|words?|first|of|everything\\s+in|word|for)\\s+){0,5}";
const TELL =
  "(?:reveal|show|print|output|repeat|display|disclose|tell|give|share|recite|leak|dump|write|expose|provide|return|copy|paste|send)";

export const RULES: readonly Rule[] = [
  {
    id: "override",
    family: "override",
    scope: "direct",
    weight: 9_000,
    pattern: `\\b${DROP}\\s+(?:(?:all|any|every|everything|each|of|the|your|these|those|this|that|and|other|to|you|were|have|been|given|told|about|in|from|completely|entirely)\\s+){0,5}${PRIOR}\\s+(?:(?:and|or|system|user|safety|previous|developer|other|set|of|given|ai|model|\\w+ing)[\\s,]+){0,3}${ORDERS}\\b`,
  },
  {
    id: "override_yours",
    family: "override",
    scope: "direct",
    weight: 8_000,
    pattern: `\\b(?:${DROP}|overrid(?:e|ing)|bypass|disobey|violate|abandon|drop)\\s+(?:all\\s+|any\\s+|every\\s+one\\s+)?(?:of\\s+)?your\\s+(?:\\w+\\s+){0,2}${ORDERS}\\b`,
  },
  {
    id: "override_told",
    family: "override",
    scope: "direct",
    weight: 8_500,
    pattern: `\\b${DROP}\\s+(?:about\\s+)?(?:all|any|every|everything|anything|whatever|what|the)\\s+${W}{0,4}(?:you\\s+(?:were|have\\s+been|are|was|had\\s+been)\\s+(?:told|given|instructed|taught|trained)|(?:above|before)\\s+(?:this|and|instead)|instructions\\s+(?:above|before|you|given|prior|so\\s+far))`,
  },
  {
    id: "override_void",
    family: "override",
    scope: "direct",
    weight: 8_000,
    pattern: `\\b(?:all\\s+(?:of\\s+)?)?your\\s+(?:(?:previous|prior|earlier|old|original|current|existing|initial|system|safety)\\s+){1,2}${ORDERS}\\s+(?:have\\s+been|has\\s+been|are|is|were)\\s+(?:all\\s+|now\\s+|hereby\\s+)*(?:replaced|revoked|void|cancell?ed|overridden|superseded|no\\s+longer|lifted|suspended|reset|removed|deleted|disabled|obsolete)\\b`,
  },
  {
    id: "override_joined",
    family: "override",
    scope: "direct",
    weight: 9_000,
    pattern:
      "(?i)(?:ignore|disregard|forget)(?:all|any|the|your|of|my){0,4}(?:previous|prior|earlier|above|preceding|original|system)\\w{0,12}(?:instruction|rule|prompt|guideline|direction|order)",
  },
  {
    id: "new_orders",
    family: "override",
    scope: "direct",
    // People give each other new tasks, too: in tool results it speaks only together with another family.
    weight: 5_500,
    pattern:
      "\\b(?:your\\s+(?:new|real|actual|true|only|updated)\\s+(?:instructions?|task|objective|goal|mission|purpose|role|directive|orders?)\\s+(?:is|are|will\\s+be)|from\\s+now\\s+on,?\\s+you\\s+(?:will|must|are|shall)\\s+(?:only\\s+|always\\s+|no\\s+longer\\s+)?(?:obey|act|ignore|answer\\s+as|be|have\\s+no|going\\s+to\\s+act))\\b",
  },
  {
    id: "override_de",
    family: "override",
    scope: "direct",
    weight: 9_000,
    pattern: `\\b(?:ignorier(?:e|en|t)?|vergiss|vergesst|vergessen sie|missachte[nt]?)\\s+${P}{0,3}(?:vorherigen?|bisherigen?|vorigen?|obigen?|früheren?|vorangegangenen?|ursprünglichen?|deine|ihre)\\s+${P}{0,2}(?:anweisung(?:en)?|instruktionen|regeln|befehle|vorgaben|richtlinien)`,
  },
  {
    id: "override_fr",
    family: "override",
    scope: "direct",
    weight: 9_000,
    pattern: `${START}(?:ignore[rz]?|oublie[rz]?|ne tiens pas compte d|ne tenez pas compte d)(?:es)?\\s+${P}{0,3}(?:instructions|consignes|directives|règles|ordres)\\s+${P}{0,2}(?:précédentes?|antérieure?s|initiale?s|ci-dessus|plus haut)`,
  },
  {
    id: "override_es",
    family: "override",
    scope: "direct",
    weight: 9_000,
    pattern: `${START}(?:ignor(?:a|e|ad|ar)|olvid(?:a|e|ad|ar)|omit(?:e|a|ir)|desestim(?:a|e|ar)|haz caso omiso (?:a|de))\\s+${P}{0,3}(?:instrucciones|reglas|órdenes|indicaciones|directrices)\\s+${P}{0,2}(?:anteriore?s|previas|iniciales|de arriba)`,
  },
  {
    id: "override_it",
    family: "override",
    scope: "direct",
    weight: 9_000,
    pattern: `${START}(?:ignor(?:a|ate|are|i)|dimentica(?:te|re)?|trascura(?:te)?|non considerare)\\s+${P}{0,3}(?:istruzioni|regole|direttive|indicazioni|ordini)\\s+${P}{0,2}(?:precedenti|iniziali|di cui sopra|qui sopra)`,
  },
  {
    id: "override_pt",
    family: "override",
    scope: "direct",
    weight: 9_000,
    pattern: `${START}(?:ignor(?:e|a|ar|em)|esqueç(?:a|am)|desconsider(?:e|a|ar)|esquece)\\s+${P}{0,3}(?:instruções|regras|orientações|diretrizes|ordens)\\s+${P}{0,2}(?:anteriores|prévias|iniciais|acima)`,
  },
  {
    id: "template_token",
    family: "spoof",
    scope: "turns",
    weight: 7_000,
    pattern:
      "<\\|(?:im_start|start_header_id|system|begin_of_text)\\|>\\s*(?:system|assistant|user|developer|you )|<<SYS>>|<start_of_turn>\\s*(?:model|user|system)|\\[/INST\\]\\s*\\S|<\\|(?:im_end|eot_id|end_of_turn|endoftext)\\|>\\s*<\\|",
  },
  {
    id: "fake_turn",
    family: "spoof",
    scope: "turns",
    weight: 7_000,
    pattern: `(?m)^[\\s#*\\[(<-]{0,6}(?:system|developer|admin(?:istrator)?)(?:\\s+(?:prompt|message|note|notice|override|instructions?|update|alert|command))?[\\s\\])>*]{0,4}[:\\]>]\\s*\\**\\s*(?:you\\s+(?:are\\s+now|must|will|should)|ignore|disregard|forget|override|from\\s+now|new\\s+instructions|the\\s+(?:assistant|user|ai)\\s+(?:must|should|is|has))`,
  },
  {
    id: "fake_end",
    family: "spoof",
    scope: "turns",
    weight: 7_500,
    pattern:
      "\\b(?:end\\s+of\\s+(?:the\\s+)?(?:system\\s+(?:prompt|message)|document|user\\s+(?:input|prompt|message|query)|prompt|context|data|tool\\s+(?:output|result)|email|instructions)|(?:begin|start)\\s+(?:of\\s+)?(?:new|real|actual|system|admin)\\s+(?:instructions?|prompt|message|override))\\b[\\s\\S]{0,12}?(?:(?:begin|start|new|updated|real|actual|system|important|additional)\\s+(?:\\w+\\s+){0,2}(?:instructions?|prompt|task|message|orders?|override))\\b",
  },
  {
    id: "persona_named",
    family: "persona",
    scope: "direct",
    weight: 8_500,
    pattern:
      "\\b(?:do anything now|(?:you are|act as|you're|become|pretend to be|roleplay as|simulate)\\s+(?:now\\s+|going to be\\s+)?(?:an?\\s+)?[\"'“]?(?:dan\\b|jailbroken|in developer mode|evil[- ]?(?:bot|confidant|gpt))|(?:jailbreak|dan|unrestricted|unfiltered|uncensored)[- ]mode\\s+(?:is\\s+(?:now\\s+)?)?(?:enabled|activated|on|unlocked|engaged)|(?:enable|activate|enter|switch to|unlock|go into)\\s+(?:the\\s+)?(?:jailbreak|dan|unrestricted|unfiltered|uncensored)[- ]mode|(?:chatgpt|gpt|ai|assistant|model|answer|respond|response)s?\\s+(?:with|in|as)\\s+(?:developer|dan|jailbreak) mode)",
  },
  {
    id: "persona_unbound",
    family: "persona",
    scope: "direct",
    weight: 7_500,
    pattern: `\\b(?:you(?:'re| are| have| will| can| do| must)?|act as|pretend|respond as|answer as|be|simulate|play)\\s+${W}{0,8}(?:unrestricted|unfiltered|uncensored|amoral|without\\s+(?:any\\s+)?(?:moral|ethical|content|safety|legal)\\s+(?:\\w+\\s+){0,3}(?:restrictions|limitations|constraints|guidelines|filters|boundaries|rules)|(?:no|free\\s+(?:of|from)\\s+(?:all\\s+|any\\s+)?|not\\s+bound\\s+by\\s+(?:any\\s+)?|without\\s+(?:any\\s+)?|has\\s+no\\s+|have\\s+no\\s+)(?:(?:moral|ethical|content|safety|legal|openai|anthropic|programming|of|and|or|typical|usual|ai)\\s+){0,4}(?:restrictions|limitations|guidelines|filters|guardrails|censorship|safeguards))\\b`,
  },
  {
    id: "persona_never_refuse",
    family: "persona",
    scope: "direct",
    weight: 6_500,
    pattern:
      "\\b(?:(?:must|will|can|shall|should)\\s+(?:never|not)\\s+(?:ever\\s+)?(?:refuse|decline|deny|reject)\\s+(?:to\\s+answer|any|a|my|the|user)\\s*(?:\\w+\\s+){0,2}(?:request|question|prompt|instruction|order|command|task)?|broken?\\s+free\\s+(?:of|from)\\s+the\\s+(?:typical\\s+)?(?:confines|limits|constraints)|never\\s+(?:say|tell)\\s+(?:me\\s+)?(?:that\\s+)?(?:you\\s+(?:can(?:'|’)?t|cannot)|[\"'“]?i\\s+(?:can(?:'|’)?t|cannot)|no\\b))",
  },
  {
    id: "extraction",
    family: "extraction",
    scope: "direct",
    weight: 8_000,
    pattern: `\\b(?:${TELL}|summari[sz]e|translate|encode|quote|list)\\s+${OF_IT}your\\s+(?:(?:own|exact|full|entire|complete|current|whole|very|first|hidden|secret|internal|confidential|original|initial)\\s+){0,3}${OWN_TEXT}\\b`,
  },
  {
    id: "extraction_yours",
    family: "extraction",
    scope: "direct",
    weight: 7_000,
    pattern: `\\b(?:reveal|print|output|repeat|display|disclose|recite|leak|dump|expose)\\s+${OF_IT}your\\s+(?:(?:own|exact|full|entire|complete|current|whole|hidden|secret)\\s+){0,3}(?:prompt|instructions|guidelines|directives|configuration)\\b`,
  },
  {
    id: "extraction_the",
    family: "extraction",
    scope: "direct",
    weight: 7_500,
    pattern: `\\b(?:reveal|repeat|print|disclose|output|leak|dump|expose|recite)\\s+(?:me\\s+|back\\s+)?(?:(?:all|of|exact|full|entire|complete|contents?|text|words?|verbatim)\\s+){0,3}(?:the|this)\\s+(?:(?:exact|full|entire|complete|contents?|text|of|the|above|hidden|secret|confidential)\\s+){0,4}${OWN_TEXT}\\b`,
  },
  {
    id: "extraction_what",
    family: "extraction",
    scope: "direct",
    weight: 7_000,
    pattern: `\\bwhat(?:'s|\\s+is|\\s+are|\\s+was|\\s+were|\\s+does)\\s+(?:in\\s+)?your\\s+(?:(?:exact|full|entire|complete|own|very|first)\\s+){0,2}${OWN_TEXT}\\b`,
  },
  {
    id: "extraction_above",
    family: "extraction",
    scope: "direct",
    weight: 7_500,
    pattern:
      "\\b(?:repeat|print|output|copy|return|recite|write|show)\\s+(?:me\\s+|back\\s+|out\\s+)?(?:(?:all|the|everything|every|each|words?|text|exact|verbatim|of|lines?|contents?|entire|whole)\\s+){1,5}(?:above|before this|written above|that precedes?)\\b(?:,?\\s+(?:this|starting|beginning|verbatim|and include|in a|from|message|line|word)|[.\"'”]|$)",
  },
  {
    id: "extraction_start",
    family: "extraction",
    scope: "direct",
    weight: 7_000,
    pattern:
      "\\b(?:starting|beginning|starts|begins)\\s+(?:with|from)\\s+(?:the\\s+)?(?:words?|phrase|text|line)?\\s*[\"'“]?you are (?:chatgpt|gpt|claude|gemini|an? (?:ai|assistant|helpful|large))",
  },
  {
    id: "secrecy",
    family: "secrecy",
    scope: "embedded",
    weight: 5_000,
    pattern:
      "\\b(?:do not|don't|never|without)\\s+(?:ever\\s+)?(?:tell(?:ing)?|mention(?:ing)?|inform(?:ing)?|reveal(?:ing)?|notify(?:ing)?|alert(?:ing)?|show(?:ing)?|ask(?:ing)?|warn(?:ing)?)\\s+(?:this\\s+|anything\\s+|it\\s+|about\\s+|any\\s+of\\s+)*(?:to\\s+)?the\\s+user\\b",
  },
  {
    id: "address",
    family: "address",
    scope: "embedded",
    weight: 4_500,
    pattern: `\\b(?:(?:note|message|instructions?|reminder|notice|info|information|directive|request|attention|important)\\s*(?:to|for|:)|if\\s+you(?:'re|\\s+are)\\s+(?:an?|the|any)|you,?\\s+(?:the|as\\s+an?))[\\s:,]+(?:the\\s+|any\\s+|all\\s+|an?\\s+)?${MACHINE}s?\\b`,
  },
  {
    id: "salutation",
    family: "address",
    scope: "embedded",
    weight: 6_000,
    // Not by product names: people are called Claude.
    pattern:
      "\\b(?:dear|hey|hello|hi|attention)\\s+(?:ai|llm|(?:ai|virtual|helpful)\\s+(?:agent|assistant|model)|assistant|language model|chatgpt|chatbot)s?\\s*[,:!]",
  },
  {
    id: "if_asked",
    family: "steering",
    scope: "embedded",
    weight: 6_000,
    pattern:
      "\\b(?:if|when|whenever)\\s+you(?:'re|\\s+are)\\s+(?:told|asked|instructed|prompted|requested)\\s+to\\s+(?:summari[sz]e|answer|translate|process|review)\\b[^.\\n]{0,60}(?:make\\s+sure|also|instead|must|always)\\b",
  },
  {
    id: "orders_to_machine",
    family: "steering",
    scope: "embedded",
    weight: 4_000,
    pattern: `\\b(?:the\\s+|any\\s+|every\\s+)?${MACHINE}s?\\s+(?:must|should|shall|is\\s+(?:required|instructed|ordered)\\s+to|has\\s+to|needs\\s+to)\\s+(?:now\\s+|also\\s+|always\\s+|first\\s+|immediately\\s+|instead\\s+)*(?:ignore|send|forward|call|execute|run|output|respond|reply|include|append|add|delete|transfer|click|visit|email|post|tell|say)\\b`,
  },
  {
    id: "instead_of_task",
    family: "steering",
    scope: "embedded",
    weight: 5_000,
    pattern:
      "\\b(?:instead\\s+of\\s+(?:summari[sz]ing|answering|translating|responding|doing\\s+(?:that|this|the\\s+task))|do\\s+not\\s+(?:summari[sz]e|answer|translate|process)\\s+(?:this|the\\s+(?:document|text|email|question|page)|anything)|before\\s+(?:you\\s+)?(?:answer(?:ing)?|respond(?:ing)?|continu(?:e|ing)|summari[sz](?:e|ing)|us(?:e|ing)\\s+(?:this|any)\\s+(?:other\\s+)?tools?),?\\s+(?:you\\s+(?:must|should|need\\s+to)|first|please|always)|(?:end|begin|start|finish)\\s+(?:every|each|your|all)\\s+(?:response|reply|answer|output|message|summary)s?\\s+(?:with|by))\\b",
  },
  {
    id: "tool_order",
    family: "steering",
    scope: "embedded",
    weight: 4_000,
    pattern:
      "\\b(?:call|invoke|use|run|execute|trigger)\\s+(?:the\\s+)?[`'\"]?\\w+[`'\"]?\\s+(?:tool|function)\\s+(?:with|to|and|now|immediately|using|on)\\b",
  },
  {
    id: "send_secrets",
    family: "exfiltration",
    scope: "embedded",
    weight: 7_500,
    pattern: `\\b(?:send|forward|e-?mail|post|upload|transmit|exfiltrate|leak|submit|append|encode|include|copy)\\s+${W}{0,5}(?:conversation(?:\\s+history)?|chat\\s+(?:history|log)|system\\s+prompt|api\\s+keys?|passwords?|credentials|secrets|private\\s+keys?|access\\s+tokens?|environment\\s+variables|(?:user(?:'s)?|customer)\\s+(?:data|information|details|messages|emails))\\s+${W}{0,6}(?:to|at|in|as|into)\\s+(?:the\\s+|this\\s+|a\\s+)?(?:following\\s+)?(?:https?://|\\S+@\\S|(?:external\\s+|remote\\s+)?(?:url|link|address|server|endpoint|webhook|image)\\b)`,
  },
  {
    id: "image_channel",
    family: "exfiltration",
    scope: "embedded",
    weight: 7_000,
    pattern: "!\\[[^\\]\\n]*\\]\\(https?://[^)\\s]*[?&][\\w-]*=(?:[\\[{<$]|%7[Bb])",
  },
];
