"""The words by which an instruction asks for an effect, in English and, where they are plain, four other languages.

Words are in lower case and in the forms in which orders are given. A word of `EITHER` is a thing as well as a deed
(an email, a transfer): it asks only where a verb stands. Several words are a phrase.
"""

from api.gate.grounding.word_list import words

#: Words that are also nouns.
EITHER = frozenset(
    words(
        """
    email e-mail mail message text post charge wire order book transfer refund payment payout reimbursement deposit
    withdrawal invoice credit quote price discount contact reply answer report file record note log share offer
    contract sign issue update change label tag comment link draft schedule plan copy request purchase rebate
    donation cancellation deletion reservation booking access grant permission password key reset role überweisung
    zahlung erstattung rückzahlung virement paiement remboursement pago reembolso betaling mensaje correo notice
    follow-up reminder invitation invite notification import export sync merge lead task event meeting ticket
    appointment review lock block ban hire ping call deal open close address return split settlement set trash track
    triage release approval run
    """
    )
)

#: Deeds that make a thing of `EITHER` an order: "make a payment", "issue the refund".
LIGHT = frozenset(
    words(
        """
    make do issue initiate execute process create send submit schedule trigger place approve give put add perform
    prepare start authorise authorize arrange book complete open need want require mache mach tätige veranlasse
    führe sende schicke erstelle lege faire fais faites effectue effectuer effectuez envoie envoyez crée haz hacer
    realiza realizar efectúa envía crea maak doe stuur plaats leave write post drop
    """
    )
)

_MESSAGE = words(
    """
    send sending resend email e-mail mail message reply replying respond answer forward notify tell inform invite
    share announce post publish dm ping text contact remind alert broadcast circulate distribute acknowledge confirm
    write_to write_back follow_up get_back_to reach_out apologise apologize thank
    reminder invitation notification sende senden sendet schick
    schicke schicken schickt versende versenden verschicke maile mailen antworte antworten beantworte benachrichtige
    benachrichtigen informiere informieren schreib schreibe schreiben teile weiterleiten leite poste posten
    veröffentliche lade einladen erinnere erinnern bestätige verschicken envoie envoyer envoyez envoi réponds
    répondre répondez écris écrire écrivez transfère transférer transférez informe informer informez notifie
    notifier notifiez publie publier publiez inviter invitez partage partager partagez rappelle rappeler prévenez
    préviens prévenir envía envíe enviar enviad mande manda mandar responde responder responda contesta contestar
    escribe escribir escriba reenvía reenviar informa informar notifica notificar avisa avisar publica publicar
    comparte compartir invita invitar recuerda recordar stuur sturen verstuur versturen antwoord antwoorden
    beantwoord beantwoorden informeer informeren deel delen plaats plaatsen schrijf schrijven meld melden herinner
    """
)
_MONEY = words(
    """
    pay paying prepay repay payment payout transfer transferring wire refund refunding reimburse reimbursement remit
    settle disburse donate donation buy purchase deposit withdraw compensate credit charge move_money top_up
    cash_out send_money pay_out pay_back settlement zahle zahlen zahl bezahle bezahlen bezahl überweise überweisen
    überweis überweisung zahlung erstatte erstatten erstattung rückzahlung begleiche begleichen spende spenden
    auszahlen paie paye payer payez payons règle régler réglez vire virer virez virement rembourse rembourser
    remboursez remboursement verse verser versez paiement paga pagar pague transfiere transferir transfiera
    reembolsa reembolsar abona abonar abone liquida liquidar pago reembolso devuelve devolver betaal betalen
    overmaken terugbetaal terugbetalen betaling stort storten voldoe
    """
)
_DESTROY = words(
    """
    delete deleting remove erase cancel canceling cancelling purge drop wipe clear discard trash terminate revoke
    unsubscribe void archive close deactivate disable destroy expunge shred uninstall clean_up get_rid_of deletion
    cancellation withdraw lösche löschen lösch entferne entfernen storniere stornieren kündige kündigen verwerfe
    verwerfen vernichte schließe schließen beende beenden supprime supprimer supprimez efface effacer effacez annule
    annuler annulez retire retirer retirez résilie résilier clôture clôturer elimina eliminar elimine borra borrar
    borre cancela cancelar cancele anula anular quita quitar suprime suprimir verwijder verwijderen wis wissen
    annuleer annuleren
    """
)
_CHANGE = words(
    """
    create add update change set edit modify assign reassign mark move rename tag label log record note book
    schedule reschedule reserve order register enter file save store upload upsert fill correct fix adjust close
    open reopen resolve archive merge link attach comment draft prepare issue invoice approve reject put convert
    import sync complete finish start plan arrange make write post extend renew subscribe track prioritise
    prioritize escalate triage route handle process organise organize submit replace append insert apply enable
    disable enrich copy duplicate unassign deduplicate classify categorise categorize flag pin star sort configure
    switch raise lower increase decrease reduce transition advance promote set_up take_care_of clean_up follow_up
    fill_in sign_up turn_on turn_off check_in check_out make_sure invite share unarchive restore request rate review
    rsvp lege anlegen erstelle erstellen füge hinzufügen ändere ändern aktualisiere aktualisieren setze setzen trag
    trage eintragen buche buchen reserviere reservieren bestelle bestellen markiere markieren verschiebe verschieben
    weise zuweisen vermerke notiere notieren speichere speichern korrigiere korrigieren berichtige ergänze ergänzen
    plane planen erledige erledigen bearbeite bearbeiten vereinbare crée créer créez ajoute ajouter ajoutez modifie
    modifier modifiez changer changez réserve réserver réservez commande commander commandez marque marquer
    enregistre enregistrer enregistrez planifie planifier corrige corriger mets mettre mettez assigne assigner
    déplace déplacer complète compléter crea crear cree añade añadir agrega agregar agregue actualiza actualizar
    actualice cambia cambiar cambie modifica modificar reserva reservar marca marcar guarda guardar registra
    registrar asigna asignar corregir mueve mover programa programar pide pedir maak aanmaken voeg toevoegen wijzig
    wijzigen werk bijwerken zet boek boeken reserveer reserveren bestel markeer verplaats sla verander noteer
    registreer
    """
)
_PRICE = words(
    """
    price reprice discount quote charge mark_down mark_up raise lower increase decrease reduce rebate preis rabatt
    rabattiere senke erhöhe bepreise remise baisse augmente descuento rebaja sube baja prijs korting verlaag verhoog
    """
)
_LEGAL = words(
    """
    sign accept agree contract execute countersign terminate renew unterschreibe unterzeichne akzeptiere signe
    signer signez firma firmar acepta onderteken
    """
)
_STAFF = words(
    """
    hire fire offer onboard offboard dismiss promote demote terminate suspend pay_rise raise stelle entlasse
    befördere kündige embauche licencie contrata despide neem ontsla
    """
)
_RULED = words(
    """
    report file declare submit notify register certify attest disclose melde melden erkläre déclare déclarer declara
    declarar meld
    """
)
_ACCESS = words(
    """
    grant permission access authorise authorize allow permit revoke promote demote role give_access share invite
    unshare block unblock ban berechtige gewähre erlaube freigeben autorise autoriser autorisez autoriza permite
    geef_toegang
    """
)
_SECRET = words(
    """
    password reset rotate key regenerate reissue credential credentials token secret passwort kennwort contraseña
    wachtwoord lock unlock
    """
)

#: By effect. What is done to many, or is hard to take back in another way, is asked for by the deed itself.
BY_EFFECT: dict[str, tuple[str, ...]] = {
    "write": (*_CHANGE, *_DESTROY, *_MESSAGE, *_MONEY),
    "kept_write": (*_CHANGE, *_DESTROY),
    "outbound_message": _MESSAGE,
    "mass_outbound": _MESSAGE,
    "money_movement": _MONEY,
    "pricing": (*_PRICE, *_CHANGE),
    "destructive": _DESTROY,
    "bulk": (*_CHANGE, *_DESTROY),
    "legal": (*_LEGAL, *_CHANGE),
    "employment": (*_STAFF, *_CHANGE),
    "regulated": (*_RULED, *_CHANGE),
    "permission_change": (*_ACCESS, *_CHANGE, *_DESTROY),
    "credential_change": (*_SECRET, *_CHANGE, *_DESTROY),
}

DEEDS = {effect: frozenset(deed for deed in deeds if "_" not in deed) for effect, deeds in BY_EFFECT.items()}
PHRASES = {
    effect: tuple(deed.replace("_", " ") for deed in deeds if "_" in deed) for effect, deeds in BY_EFFECT.items()
}

#: Deeds done to one certain thing, which has to be named by somebody who may.
BOOKING = frozenset(
    words(
        """
    book rebook reserve order reorder cancel delete remove purchase buy checkout subscribe unsubscribe terminate
    revoke void archive close destroy erase purge discard schedule reschedule
    """
    )
)

NEGATORS = frozenset(
    words(
        """
    not don't dont doesn't never without no nobody cannot can't cant won't shouldn't mustn't avoid refrain stop
    neither nor instead_of nicht kein keine keinen keinem keiner ohne niemals nie ne n pas jamais sans ni nunca sin
    jamás niet geen nooit zonder
    """
    )
)
#: By which something is switched off that is not denied.
OFF = frozenset(words("off disable deactivate skip false omit aus deaktiviere désactive desactiva uit"))
#: Those that stand behind what they deny as well.
TRAILING = frozenset(["nicht", "niet", "pas", "jamais"])

#: Before a thing and not before a deed.
DETERMINERS = frozenset(
    words(
        """
    the a an this that these those my your our their his her its last latest all any each every of recent first next
    new unread from about which whose der die das den dem des ein eine einen einer mein meine dein deine le la les
    un une mon ma mes cette ce el los las una mi mis este esta de het een mijn in per by via on with received
    incoming outgoing what whether pending open
    """
    )
)
#: Before a deed, also where the word could be a thing.
ORDERING = frozenset(
    words(
        """
    and then please to also or just you now must should will kindly we i bitte und dann auch s'il y por favor luego
    en dan graag et puis veuillez immediately directly first afterwards finally next could can would
    """
    )
)
#: Whom to tell is the person who asks, which no message is needed for.
ONESELF = frozenset(
    words(
        """
    me us mir uns moi nous nos mij ons
    """
    )
)
SAYING = frozenset(
    words(
        """
    tell inform answer remind alert notify text write_back informiere informe informa
    """
    )
)

#: Words that name nobody and nothing by themselves.
STOP = frozenset(
    words(
        """
    a an and are as at be by for from has have he her him his i if in is it its me my no not of on or our she so
    that the their them they this to us was we were will with you your all any do does done new one der die das den
    dem ein eine und oder ist zu von mit für auf im le la les un une et ou de du des à est el los las y o en es con
    por het een van op te
    """
    )
)
#: By which an instruction asks for a calculation.
CALCULATING = frozenset(
    words(
        """
    difference sum total totals all both together remaining remainder rest balance outstanding combined net each
    every plus minus add subtract less deduct aggregate overall everything bills invoices payments refunds differenz
    summe gesamt gesamtbetrag alle beide zusammen restbetrag offenen saldo différence somme tous toutes totalité
    reste solde diferencia suma todos todas totalidad resto verschil som alles samen overpaid overcharged owed owe
    split shortfall gap missing reimburse unpaid
    """
    )
)
#: By which it asks for one amount less another, and for one plus another, of the same record.
SUBTRACTING = frozenset(
    words(
        """
    difference remaining remainder rest balance outstanding net minus subtract less deduct without excluding except
    owed owe due open left unpaid overpaid overcharged shortfall gap missing reimburse differenz restbetrag offenen
    saldo abzüglich ohne différence reste solde moins sans diferencia resto menos sin verschil saldo zonder
    """
    )
)
ADDING = frozenset(
    words(
        """
    sum plus add both together combined aggregate overall everything including incl gross summe beide zusammen
    inklusive brutto somme ensemble plus suma juntos incluido som alles samen inclusief
    """
    )
)
TOTAL = frozenset(words("total totals gesamt gesamtbetrag totalité totalidad totaal"))
#: By which it speaks of those who wrote or take part, whoever they are.
SENDERS = frozenset(
    words(
        """
    sender senders requester requesters reporter reporters author authors owner owners submitter applicant caller
    writer attendee attendees participant participants member members recipients correspondents respondents
    everyone everybody whoever people team him her them thread conversation absender absenderin teilnehmer ihm ihr
    ihnen alle expéditeur auteur participants lui leur remitente autor participantes le les afzender deelnemers hem
    """
    )
)
