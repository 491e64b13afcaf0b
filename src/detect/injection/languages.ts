/**
 * Two families of rules in other languages than English: to drop what was said before, and to give away what stands
 * above. Each is built from a language's words in its order of words; patterns are folded as texts are. Precise
 * rather than complete: imperatives only, at the beginning of a sentence where a language says "do not forget" with
 * the same word.
 */
import { fold } from "../fold.ts";
import type { Rule } from "./rules.ts";

/** `verb_first`: drop these orders; `verb_last`: these orders drop. */
type Order = "verb_first" | "verb_last" | "either";

type Words = {
  readonly order: Order;
  /** Absent: the language has a rule of its own for it. */
  readonly override?: {
    readonly drop: string;
    readonly prior: string;
    readonly orders: string;
  };
  /** Orders to tell, and what belongs to the model alone. */
  readonly extraction: { readonly tell: string; readonly own: string };
};

/** The rest of a word. Not `\\pL`: its tables, repeated, are too large for RE2's fast automaton. */
const L = "[^\\x00-\\x40\\[-`{-\\x7f«»“”„]*";
/** A few words of the same sentence. */
const GAP = "[^.!?。！？\\n]{0,24}?";
const NEAR = "[^.!?。！？\\n]{0,12}?";
const PLEASE =
  "por favor|per favore|s'il (?:te|vous) plaît|bitte|alsjeblieft|пожалуйста|будь ласка|proszę|lütfen|من فضلك|לطفاً|لطفا|בבקשה|tolong|mohon|silakan|harap|hãy|xin|vui lòng|παρακαλώ|te rog|vă rog|pakiusap|paki|请|請|现在|立即|โปรด|กรุณา|จง|ให้|y|et|und|e|и|і|i|en|dan|và|și|και|و|ו";
/** Where an order begins. */
const START = `(?:^|[.!?:;,…"'»“”‘’>*#()\\[\\]\\n。！？：；，、「-][\\s«"'“(]{0,3})(?:(?:${PLEASE}),?\\s*){0,2}`;

const LANGUAGES: Readonly<Record<string, Words>> = {
  es: {
    order: "verb_first",
    extraction: {
      tell: "muestra|muéstrame|enséñame|revela|revélame|dime|repite|repíteme|imprime|escribe|comparte|copia|dame|cuál(?:es)? (?:es|son)",
      own: "(?:tus?|el) (?:prompt|mensaje|instrucciones|indicaciones|reglas|directrices) (?:de(?:l)? sistema|iniciale?s?|ocult[oa]s?|intern[oa]s|originales|secret[oa]s)|tu system prompt|tu prompt",
    },
  },
  pt: {
    order: "verb_first",
    extraction: {
      tell: "mostre|mostra|revele|revela|diga|diz|repita|repete|imprima|escreva|exiba|compartilhe|qual é|quais são",
      own: "(?:o |as |os )?(?:seu|teu|sua|tua)s? (?:prompt|mensagem|instruções|regras|diretrizes) (?:d[eo] sistema|inicia(?:l|is)|ocult[ao]s?|secret[ao]s?|intern[ao]s|originais)|(?:seu|teu) system prompt",
    },
  },
  fr: {
    order: "verb_first",
    extraction: {
      tell: "(?:montre|affiche|révèle|donne|répète|répéte|recopie|imprime|partage)z?|dis|dites|écris|écrivez|quel(?:le)?s? (?:est|sont)",
      own: "(?:ton|tes|votre|vos) (?:prompt|message|instructions|consignes|directives|règles) (?:du |de )?(?:système|initiale?s|cachée?s?|secr[eè]te?s|internes|d'origine)|(?:ton|votre) (?:prompt|message|invite) système|(?:ton|votre) system prompt",
    },
  },
  it: {
    order: "verb_first",
    extraction: {
      tell: "mostra(?:mi)?|rivela(?:mi)?|dimmi|ripeti|stampa|scrivi|elenca|condividi|qual è|quali sono",
      own: "(?:tuo|tua|tue|tuoi) (?:prompt|messaggio|istruzioni|regole|direttive) (?:di sistema|del sistema|inizial[ei]|nascost[aeio]|segret[aeio]|intern[aeio]|original[ei])|tuo system prompt",
    },
  },
  de: {
    order: "verb_first",
    extraction: {
      tell: "zeige?|nenne?|verrate?|wiederhole?|gib|schreibe?|drucke?|offenbare?|was (?:ist|sind|steht in)|wie lauten?",
      own: `dein${L} (?:(?:versteckt|geheim|intern|ursprünglich|genau|vollständig|ganz)${L} ){0,2}system-?\\s?(?:prompt|nachricht|anweisung)${L}|dein${L} (?:versteckt|geheim|ursprünglich)${L} (?:anweisung|regel|vorgabe|instruktion)${L}`,
    },
  },
  nl: {
    order: "verb_first",
    override: {
      drop: "negeer|vergeet",
      prior: "vorige|voorgaande|eerdere|bovenstaande|oorspronkelijke",
      orders: "instructies|aanwijzingen|opdrachten|regels|richtlijnen",
    },
    extraction: {
      tell: "toon|geef|onthul|herhaal|print|schrijf|vertel|wat (?:is|zijn|staat in)|laat",
      own: "(?:je|jouw|uw) (?:(?:verborgen|geheime|interne|volledige|oorspronkelijke|exacte) ){0,2}(?:systeem-?\\s?(?:prompt|bericht|instructies?)|system prompt)|(?:je|jouw|uw) (?:verborgen|geheime|oorspronkelijke) (?:instructies|regels|prompt)",
    },
  },
  ru: {
    order: "verb_first",
    override: {
      drop: "(?:про)?игнорируй(?:те)?|забудь(?:те)?|не обращай(?:те)? внимания на|отбрось(?:те)?",
      prior: `предыдущ${L}|прежн${L}|прошл${L}|ранее|выше${L}|изначальн${L}|сво[иейх]+`,
      orders: `инструкци${L}|указани${L}|правил${L}|команд${L}|установ${L}|ограничени${L}`,
    },
    extraction: {
      tell: "(?:покажи|раскрой|выведи|повтори|напиши|назови|скажи|сообщи|процитируй|выдай)(?:те)?|какие|каков[аы]?|какой",
      own: `(?:сво|тво|ваш)${L} (?:системн${L} (?:промпт|промт|подсказк|сообщени|инструкци|запрос)${L}|(?:скрыт|секретн|внутренн|изначальн|начальн|исходн)${L} (?:инструкци|промпт|промт|указани)${L})`,
    },
  },
  uk: {
    order: "verb_first",
    override: {
      drop: "(?:про)?ігноруй(?:те)?|забудь(?:те)?|не зважай(?:те)? на",
      prior: `попередн${L}|минул${L}|раніш${L}|вище${L}|початков${L}|сво[їєх]+`,
      orders: `інструкці${L}|вказівк${L}|правил${L}|команд${L}|обмежен${L}|настанов${L}`,
    },
    extraction: {
      tell: "(?:покажи|розкрий|виведи|повтори|напиши|назви|скажи|процитуй)(?:ть)?|які|яка|який",
      own: `(?:сво|сві|тво|тві|ваш)${L} (?:системн${L} (?:промпт|підказк|повідомлен|інструкці|запит)${L}|(?:прихован|таємн|секретн|внутрішн|початков)${L} (?:інструкці|промпт|вказівк)${L})`,
    },
  },
  pl: {
    order: "verb_first",
    override: {
      drop: "z?ignoruj(?:cie)?|zapomnij(?:cie)?|pomiń(?:cie)?|odrzuć(?:cie)?",
      prior: `poprzedni${L}|wcześniejsz${L}|powyższ${L}|dotychczasow${L}|pierwotn${L}|swo[ij]${L}`,
      orders: `instrukcj${L}|poleceni${L}|poleceń|wskazów${L}|zasad${L}|reguł${L}|wytyczn${L}`,
    },
    extraction: {
      tell: "(?:pokaż|ujawnij|wypisz|powtórz|napisz|podaj|wyświetl|zdradź)(?:cie)?|jakie są|jaki jest|jak brzmi",
      own: `(?:sw|tw)[óo]j${L} (?:prompt${L} systemow${L}|systemow${L} (?:prompt|instrukcj|komunikat)${L}|(?:ukryt|tajn|wewnętrzn|początkow|pierwotn)${L} (?:instrukcj|prompt|wytyczn)${L}|instrukcje systemowe)`,
    },
  },
  tr: {
    order: "verb_last",
    override: {
      drop: "(?:yok say|görmezden gel|unut|dikkate alma|göz ardı et)(?:[ıiuü]n(?:[ıiuü]z)?|y[ıi]n)?(?:[\\s\\pP]|$)",
      prior: "önceki|yukarıdaki|mevcut|tüm|bütün",
      orders: `talimat${L}|komut${L}|kural${L}|yönerge${L}`,
    },
    extraction: {
      tell: "göster|yaz|söyle|açıkla|paylaş|tekrarla|ver|listele|yazdır|nedir",
      own: `sistem (?:prompt|istem|komut istem)${L}|(?:gizli|ilk|dahili) (?:talimat|prompt|istem)(?:lar)?[ıi]n[ıi]${L}|sistem talimat(?:lar)?ın${L}`,
    },
  },
  ar: {
    order: "verb_first",
    override: {
      drop: "تجاهل[يو]?ا?|انس|انسي|انسوا|أهمل|اهمل",
      prior: "السابقة|أعلاه|السالفة|الأصلية|المذكورة|الأولية|السابقه",
      orders: "التعليمات|تعليماتك|الأوامر|القواعد|الإرشادات|التوجيهات|الاوامر|الارشادات",
    },
    extraction: {
      tell: "اعرض|أظهر|اظهر|اكشف|أخبرني|اخبرني|اطبع|كرر|اكتب|شارك|ما هي|ما هو|أعطني|اعطني",
      own: `تعليمات(?:ك)? (?:النظام|الأصلية|المخفية|السرية|الأولية|الداخلية) ?(?:الخاصة بك|لديك)|تعليماتك (?:الأصلية|المخفية|السرية|الأولية|الداخلية)|موجه النظام|برومبت النظام|رسالة النظام الخاصة بك`,
    },
  },
  fa: {
    order: "verb_last",
    override: {
      drop: "نادیده بگیر(?:ید)?|فراموش کن(?:ید)?|کنار بگذار(?:ید)?",
      prior: "قبلی|پیشین|بالا|اولیه|سابق|تمام|همه",
      orders: `دستور${L}|قوانین|فرمان${L}|قواعد|محدودیت${L}`,
    },
    extraction: {
      tell: "نشان بده|بگو|بنویس|فاش کن|تکرار کن|چاپ کن|چیست",
      own: "پرامپت (?:سیستم|سیستمی|اولیه|مخفی)|دستور(?:ات|العمل)?(?:های)? (?:سیستمی|مخفی|پنهان|محرمانه) ?(?:خود|خودت|ات)",
    },
  },
  he: {
    order: "verb_first",
    override: {
      drop: "התעלם|התעלמי|התעלמו|תתעלם|שכח|שכחי|תשכח",
      prior: "הקודמות|הקודמים|שלעיל|המקוריות|המקוריים|שקיבלת|הראשוניות",
      orders: "ההוראות|הוראות|ההנחיות|הנחיות|הכללים|הפקודות|החוקים",
    },
    extraction: {
      tell: "הצג|הראה|תראה|גלה|תגלה|חשוף|כתוב|תכתוב|חזור על|הדפס|ספר לי|מה",
      own: "(?:הוראות המערכת|הנחיות המערכת|פרומפט המערכת|הודעת המערכת|ה?הוראות (?:הסודיות|הנסתרות|הפנימיות|המקוריות)|ה?הנחיות (?:הסודיות|הנסתרות|הפנימיות|המקוריות)) (?:שלך|שקיבלת)",
    },
  },
  hi: {
    order: "verb_last",
    override: {
      drop: "(?:अनदेखा|नज़र ?अंदाज़?|इग्नोर|उपेक्षा) ?(?:करो|करें|कीजिए|कर दो|कर दें)|भूल जा(?:ओ|इए|एं|एँ)",
      prior: `पिछल${L}|पूर्व|उपरोक्त|ऊपर|पुरान${L}|पहले|सभी|सारे`,
      orders: `निर्देश${L}|आदेश${L}|नियम${L}|हिदायत${L}`,
    },
    extraction: {
      tell: "दिखा|बता|प्रकट|दोहरा|लिख|प्रिंट|साझा|क्या है",
      own: `(?:अपन|तुम्हार|आपक)${L} (?:सिस्टम|प्रारंभिक|मूल|छिप${L}|छुप${L}|गुप्त) (?:प्रॉम्प्ट|प्रोम्प्ट|निर्देश|संदेश)${L}|अपन${L} सिस्टम प्रॉम्प्ट`,
    },
  },
  bn: {
    order: "verb_last",
    override: {
      drop: "(?:উপেক্ষা|অগ্রাহ্য|বাতিল) কর(?:ো|ুন)|ভুলে যা(?:ও|ন)(?:[\\s\\pP]|$)|বাদ দ(?:াও|িন)",
      prior: "আগের|পূর্বের|পূর্ববর্তী|উপরের|সব|সমস্ত|সকল",
      orders: `নির্দেশ${L}|নিয়ম${L}|আদেশ${L}`,
    },
    extraction: {
      tell: "দেখা|বল|প্রকাশ|লেখ|লিখ|পুনরাবৃত্তি|জানা|কী",
      own: `(?:তোমার|আপনার) (?:সিস্টেম|প্রাথমিক|গোপন|লুকানো|মূল) (?:প্রম্পট|নির্দেশ|বার্তা)${L}`,
    },
  },
  zh: {
    order: "either",
    override: {
      drop: "你?(?:必须|可以|要|应该|需要)?(?:忽略|无视|忘记|忘掉|忘了|抛弃|丢弃|不要理会|不要遵守|不用管|别管|無視|忘記|拋棄|別管)|全部作废|不再有效",
      prior: "之前|以前|先前|上述|前面|上面|以上|原来|原有|初始|此前|你的|既定|系统",
      orders: "指令|指示|规则|規則|提示词|提示詞|要求|设定|設定|命令|限制|约束|规定",
    },
    extraction: {
      tell: "(?:你)?(?:把|将|直接)?(?:告诉|告訴|显示|顯示|输出|輸出|重复|重複|展示|透露|泄露|打印|列出|说出|给出|写出|复述|公开|是什么|是什麼)",
      own: "(?:你|您)的?(?:完整的?|全部的?)?(?:系统|系統|初始|原始|隐藏|隱藏|内部|秘密)的?(?:提示词|提示詞|提示|指令|prompt|设定)",
    },
  },
  ja: {
    order: "verb_last",
    override: {
      drop: "無視(?:し(?:て(?:[^は]|$)|ろ|なさい)|せよ)|忘れ(?:て(?:[^は]|$)|ろ|なさい|去)|破棄し(?:て(?:[^は]|$)|ろ|なさい)|従わな(?:いで|くて)",
      prior: "これまで|今まで|いままで|以前|前の|上記|上の|先ほど|既存|すべて|全て|全部|元の|最初",
      orders: "指示|命令|ルール|プロンプト|制約|指令|規則",
    },
    extraction: {
      tell: "教え(?:て|ろ|なさい)|見せ(?:て|ろ|なさい)|(?:表示|出力|公開|開示|繰り返)し(?:て(?:[^は]|$)|ろ|なさい)|書き出して|書いて|何ですか",
      own: "システムプロンプト|(?:あなた|君|お前|自分)の?(?:システム|初期|隠された|内部|秘密|最初)の?(?:指示|メッセージ|設定|命令|プロンプト)",
    },
  },
  ko: {
    order: "verb_last",
    override: {
      drop: "무시(?:해|하고|하라|하세요|하십시오|하시오)|잊어(?:라|버려|줘)|잊으(?:세요|십시오)|폐기해|폐기하고|따르지 마",
      prior: "이전|앞선|앞의|위의|기존|지금까지|모든|원래|처음",
      orders: `지시${L}|명령${L}|지침${L}|규칙${L}|프롬프트${L}|제약${L}`,
    },
    extraction: {
      tell: "보여|알려|출력해|출력하|말해|공개해|반복해|적어|써 ?줘|공유해|뭐|무엇",
      own: `시스템 ?프롬프트|(?:너|네|당신|귀하)의? ?(?:시스템|초기|숨겨진|내부|비밀|원래) ?(?:프롬프트|지시|지침|메시지)${L}`,
    },
  },
  vi: {
    order: "verb_first",
    override: {
      drop: "bỏ qua|phớt lờ|quên(?: đi)?|mặc kệ|không tuân theo",
      prior: "trước|ở trên|bên trên|phía trên|ban đầu",
      orders: "hướng dẫn|chỉ dẫn|chỉ thị|mệnh lệnh|lệnh|quy tắc|quy định",
    },
    extraction: {
      tell: "hiển thị|cho (?:tôi|tao|mình) (?:biết|xem)|tiết lộ|in ra|lặp lại|nói|viết|chia sẻ",
      own: "(?:lời nhắc|prompt|hướng dẫn|chỉ dẫn|thông điệp|câu lệnh) (?:hệ thống|ban đầu|ẩn|bí mật|nội bộ) của (?:bạn|mày|ngươi)|system prompt của (?:bạn|mày)",
    },
  },
  id: {
    order: "verb_first",
    override: {
      drop: "abaikan|lupakan|hiraukan",
      prior: "sebelumnya|sebelum ini|di atas|terdahulu|awal",
      orders: "instruksi|perintah|aturan|arahan|petunjuk|panduan",
    },
    extraction: {
      tell: "tampilkan|tunjukkan|ungkapkan|beri ?tahu|katakan|ulangi|cetak|tuliskan|bagikan|apa",
      own: "(?:(?:prompt|instruksi|pesan|perintah) (?:sistem|awal|rahasia|tersembunyi|internal)|system prompt)(?:mu| ?kamu| ?anda)",
    },
  },
  th: {
    order: "verb_first",
    override: {
      drop: "เพิกเฉยต่อ|ไม่ต้องสนใจ|ไม่ต้องทำตาม|ละเว้น|ลืม|ยกเลิก",
      prior: "ก่อนหน้า|ข้างต้น|ที่ผ่านมา|เดิม|ด้านบน|ทั้งหมดที่",
      orders: "คำสั่ง|คำแนะนำ|กฎ|ข้อกำหนด|คำชี้แจง",
    },
    extraction: {
      tell: "แสดง|บอก|เปิดเผย|พิมพ์|ทวน|เขียน",
      own: `(?:พรอมต์|พรอมท์|พร้อมท์|คำสั่ง|ข้อความ)(?:ของ)?(?:ระบบ|เริ่มต้น|ลับ|ที่ซ่อน|ภายใน)${L} ?(?:ของ)?(?:คุณ|เธอ|แก)`,
    },
  },
  tl: {
    order: "verb_first",
    override: {
      drop: "balewalain|kalimutan|huwag (?:mo|ninyo)?n?g? ?pansinin|isantabi|i-?ignore",
      prior: "naunang?|dating?|nakaraang|itaas|orihinal",
      orders: "utos|tagubilin|panuto|alituntunin|patakaran|instruksyon|instructions",
    },
    extraction: {
      tell: "ipakita|sabihin|ibunyag|ilahad|isulat|ulitin|ibigay|ano",
      own: "(?:iyong|inyong) (?:system prompt|(?:lihim na|nakatagong|orihinal na) (?:tagubilin|prompt|utos))|(?:system prompt|lihim na tagubilin|nakatagong tagubilin|orihinal na tagubilin) mo",
    },
  },
  el: {
    order: "verb_first",
    override: {
      drop: "αγνόησε|αγνοήστε|ξέχνα|ξέχασε|ξεχάστε|παράβλεψε|παραβλέψτε",
      prior: `προηγούμεν${L}|παραπάνω|αρχικ${L}`,
      orders: "οδηγίες|εντολές|κανόνες|κατευθύνσεις",
    },
    extraction: {
      tell: `δείξε|αποκάλυψε|πες|γράψε|εμφάνισε|επανάλαβε|τύπωσε|δώσε|ποι${L}`,
      own: "(?:μήνυμα|προτροπή|prompt|οδηγίες|εντολές) (?:του )?συστήματ[οό]ς (?:σου|σας)|(?:κρυφές|αρχικές|μυστικές|εσωτερικές) (?:οδηγίες|εντολές) (?:σου|σας)",
    },
  },
  ro: {
    order: "verb_first",
    override: {
      drop: "ignoră|ignorați|ignoraţi|ignora|uită|uitați|nu ține cont de",
      prior: `anterioar${L}|precedent${L}|de mai sus|ini[țţt]ial${L}`,
      orders: `instruc[țţt]iuni${L}|reguli${L}|ordine${L}|indica[țţt]ii${L}|comenzi${L}`,
    },
    extraction: {
      tell: "(?:arată|afișează|dezvăluie|spune|repetă|scrie|tipărește|dă)(?:-mi|-ne)?|care (?:este|sunt)",
      own: "promptul (?:tău )?de sistem|mesajul tău de sistem|(?:instrucțiunile|regulile) tale (?:de sistem|ascunse|inițiale|secrete|interne)",
    },
  },
};

const OVERRIDE = { family: "override", scope: "direct", weight: 9_000 } as const;
const EXTRACTION = { family: "extraction", scope: "direct", weight: 7_000 } as const;

/** The trigger is a part of the pattern that few texts have: a set of the patterns themselves is too large for RE2. */
type TriggeredRule = Rule & { readonly trigger: string };

function rulesOf([language, { order, override, extraction }]: readonly [
  string,
  Words,
]): readonly TriggeredRule[] {
  const { tell, own } = extraction;
  const rules: TriggeredRule[] = [
    {
      id: `extraction_${language}`,
      ...EXTRACTION,
      trigger: own,
      pattern: inOrder(order, tell, `(?:${own})`),
    },
  ];
  if (override === undefined) return rules;
  const { drop, prior, orders } = override;
  const old = `(?:(?:${prior})${NEAR}(?:${orders})|(?:${orders})${NEAR}(?:${prior}))`;
  rules.push({
    id: `override_${language}`,
    ...OVERRIDE,
    trigger: drop,
    pattern: inOrder(order, drop, old),
  });
  return rules;
}

function inOrder(order: Order, verb: string, what: string): string {
  const first = `${START}(?:${verb})${GAP}${what}`;
  const last = `${what}${NEAR}(?:${verb})`;
  return { verb_first: first, verb_last: last, either: `(?:${first}|${last})` }[order];
}

/** As texts are folded, so are the words that are looked for in them. */
export const FOREIGN_RULES: readonly TriggeredRule[] = Object.entries(LANGUAGES)
  .flatMap(rulesOf)
  .map((rule) => ({
    ...rule,
    pattern: fold(rule.pattern).text,
    trigger: fold(rule.trigger).text,
  }));
